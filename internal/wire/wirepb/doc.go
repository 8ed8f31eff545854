// Package wirepb holds the messages of proto/messages.proto, generated.
package wirepb
