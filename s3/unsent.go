package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"github.com/aws/smithy-go/middleware"
)

var errUnsent = errors.New("there was no connection to send the request by")

// watched marks the error of a request with errUnsent if a connection was wanted, and
// none was had. An HTTP client that does not tell that it wants one tells nothing.
func watched(stack *middleware.Stack) error {
	watch := middleware.DeserializeMiddlewareFunc("statelatch:Watched", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		var wanted, had atomic.Bool
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GetConn: func(string) { wanted.Store(true) },
			GotConn: func(httptrace.GotConnInfo) { had.Store(true) },
		})
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if err != nil && wanted.Load() && !had.Load() {
			err = fmt.Errorf("%w: %w", errUnsent, err)
		}
		return out, metadata, err
	})
	return stack.Deserialize.Add(watch, middleware.After)
}

// proxyRefusal is the status by which a proxy refuses to connect. The transport's own
// error has only its text.
type proxyRefusal int

func (p proxyRefusal) Error() string {
	return fmt.Sprintf("the proxy answered %d %s", int(p), http.StatusText(int(p)))
}

// checkProxy looks at a proxy's reply to CONNECT.
func checkProxy(_ context.Context, _ *url.URL, _ *http.Request, reply *http.Response) error {
	if reply.StatusCode == http.StatusOK {
		return nil
	}
	return proxyRefusal(reply.StatusCode)
}
