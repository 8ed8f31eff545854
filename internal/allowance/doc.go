// Package allowance bounds what one peer can make a daemon do that costs more than the
// peer: writes to a card, lines in a log.
//
//   - [Bucket] is an allowance that fills up with time.
//   - [Limiter] has one for each peer. Peers without room share another one.
//   - [Logs] is a slog.Handler that keeps peers from filling the log.
//
// Time is monotonic.
package allowance
