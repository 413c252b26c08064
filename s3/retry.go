package s3

import (
	"errors"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/statelatch/statelatch/internal/settle"
)

// patient adds to the vendor's Retryer of reads what that does not know: 429, which
// many endpoints say instead of the vendor's own codes, and Retry-After.
type patient struct{ aws.RetryerV2 }

func patiently(r aws.Retryer) aws.Retryer {
	if v2, ok := r.(aws.RetryerV2); ok {
		return patient{v2}
	}
	return r
}

// IsErrorRetryable implements [aws.Retryer].
func (p patient) IsErrorRetryable(err error) bool {
	var reply *smithyhttp.ResponseError
	return errors.As(err, &reply) && reply.HTTPStatusCode() == http.StatusTooManyRequests || p.RetryerV2.IsErrorRetryable(err)
}

// RetryDelay implements [aws.Retryer].
func (p patient) RetryDelay(attempt int, err error) (time.Duration, error) {
	delay, failed := p.RetryerV2.RetryDelay(attempt, err)
	return max(delay, retryAfter(err)), failed
}

// retryAfter returns how long the service asks not to be asked again.
func retryAfter(err error) time.Duration {
	var reply *smithyhttp.ResponseError
	if !errors.As(err, &reply) || reply.Response == nil {
		return 0
	}
	return settle.Asked(reply.Response.Header)
}
