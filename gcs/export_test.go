package gcs

// Config returns what the Backend works with.
func (b *Backend) Config() Config { return *b.config }
