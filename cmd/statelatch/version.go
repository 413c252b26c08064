package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/statelatch/statelatch/lock"
)

// A version is the JSON of "version".
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"` // of the source; "" if the build does not tell
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Print the version of statelatch, and what it was built with.",
		Args:  arguments(0),
		RunE: func(*cobra.Command, []string) error {
			v := version{Version: lock.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Revision = s.Value
					}
				}
			}
			return c.say(v, "%s (%s, %s)", v.Version, v.Go, v.Platform)
		},
	}
}
