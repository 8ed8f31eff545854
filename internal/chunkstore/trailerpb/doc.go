// Package trailerpb holds the record of proto/trailer.proto, generated.
package trailerpb
