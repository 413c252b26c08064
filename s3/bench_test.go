package s3_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/statelatch/statelatch/backend/backendtest"
	"github.com/statelatch/statelatch/internal/measure"
	"github.com/statelatch/statelatch/internal/tftest"
)

func Benchmark(b *testing.B) {
	backendtest.Benchmarks(b, setup{objects: minio, file: true}.target(b))
}

// BenchmarkBeside has the vendor's client put an object, and read it.
func BenchmarkBeside(b *testing.B) {
	n := setup{objects: minio, file: true}.open(b)
	objects, _ := n.sdk(b)
	bucket, key := aws.String(place), aws.String(n.key("bare"))
	measure.Backend(b, n.client(b, wire{}), measure.Bare{
		Put: func(ctx context.Context, data []byte) error {
			_, err := objects.PutObject(ctx, &sdk.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(data)})
			return err
		},
		Get: func(ctx context.Context) error {
			out, err := objects.GetObject(ctx, &sdk.GetObjectInput{Bucket: bucket, Key: key})
			if err != nil {
				return err
			}
			defer out.Body.Close()
			_, err = io.ReadAll(out.Body)
			return err
		},
	})
}

func BenchmarkTerraformHandOff(b *testing.B) {
	block := newBlock(minio.start(b))
	block["use_lockfile"] = true
	tftest.HandOff(b, tftest.Terraform(b), tftest.Fixture{Backend: block.String(), Ours: block.open(b)})
}
