package tlsstream

// Stream is the TLS of one established connection. It is not safe for
// concurrent use.
type Stream interface {
	// Open takes what arrived, cut anywhere, and appends to dst the
	// application data of the records that it completes. What is incomplete is
	// kept inside, bounded by one record. The error is io.EOF after a
	// close_notify, after which Seal still works, and a fault otherwise; in
	// both cases dst has what came before, and Control has the alert to send.
	// An error is final: every later call returns it.
	Open(dst, in []byte) ([]byte, error)
	// Seal appends plain to dst as records, after what Control would append.
	// It appends nothing after CloseNotify or a fault.
	Seal(dst, plain []byte) []byte
	// Control appends to dst what TLS itself has to say since the last call:
	// alerts and key updates. It is to be asked after each Open.
	Control(dst []byte) []byte
	// CloseNotify appends the alert of that name to dst: the server's half of
	// the connection is over.
	CloseNotify(dst []byte) []byte
	// Idle gives back what the next record can do without, at some cost in
	// CPU: for connections that have been silent for seconds.
	Idle()
}
