package clause

import (
	"time"

	"go.uber.org/goleak"
)

// linger is how long a goroutine may outlive the call that it belonged to. The
// server of net/http keeps one for half a second behind a connection that was cut,
// and a test's proxy is such a server.
const linger = 3 * time.Second

// NothingLeft fails the clause if goroutines are left that were not there before.
func (t *T) NothingLeft(before goleak.Option) {
	t.Helper()
	for end := time.Now().Add(linger); ; {
		err := goleak.Find(before) // it tries for half a second
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Error(err)
			return
		}
	}
}
