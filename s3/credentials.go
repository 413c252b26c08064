package s3

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// refreshing has credentials fetched anew, once in a call, when the service says
// that they have expired. A request that was refused for that was not applied, so
// even one with a condition can be made again.
func refreshing(credentials aws.CredentialsProvider) func(*middleware.Stack) error {
	cache, ok := credentials.(interface{ Invalidate() })
	if !ok {
		return func(*middleware.Stack) error { return nil }
	}
	refresh := middleware.FinalizeMiddlewareFunc("statelatch:Refresh", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		out, metadata, err := next.HandleFinalize(ctx, in)
		request, ok := in.Request.(*smithyhttp.Request)
		if !expired(err) || !ok || request.RewindStream() != nil {
			return out, metadata, err
		}
		cache.Invalidate()
		return next.HandleFinalize(ctx, in)
	})
	return func(stack *middleware.Stack) error { return stack.Finalize.Insert(refresh, "Retry", middleware.Before) }
}

// expiredCodes are what the services call expired credentials.
var expiredCodes = []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}

func expired(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && slices.Contains(expiredCodes, api.ErrorCode())
}
