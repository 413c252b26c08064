package httpbackend

import "time"

// Wait is Config.wait.
func Wait(c Config, n int) time.Duration { return c.wait(n) }
