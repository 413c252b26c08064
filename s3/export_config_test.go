package s3

// Config returns the configuration as New has completed it.
func (b *Backend) Config() Config { return *b.config }
