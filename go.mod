module github.com/statelatch/statelatch

go 1.26.0

require (
	github.com/anishathalye/porcupine v1.0.2 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sync v0.25.0 // indirect
	golang.org/x/sys v0.43.0 // indirect
)
