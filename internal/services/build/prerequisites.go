package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/statelatch/statelatch/internal/services"
)

// How to get what the builds need.
const (
	getGo   = "install it: https://go.dev/dl, or the system's package golang"
	getNode = "install Node.js 20 or newer, with npm: https://nodejs.org, or the system's packages nodejs and npm"
)

// prerequisites returns an error that names every program that building the
// missing services needs and that this machine lacks.
func prerequisites(missing []services.Service) error {
	var fromGo, fromNPM []string
	for _, s := range missing {
		if s.NPM {
			fromNPM = append(fromNPM, s.Name)
		} else {
			fromGo = append(fromGo, s.Name)
		}
	}
	return errors.Join(
		onPath("go", fromGo, getGo),
		onPath("node", fromNPM, getNode),
		onPath("npm", fromNPM, getNode),
	)
}

func onPath(program string, neededBy []string, get string) error {
	if len(neededBy) == 0 {
		return nil
	}
	if _, err := exec.LookPath(program); err != nil {
		return fmt.Errorf("%s is not on PATH, and %s cannot be built without: %s", program, strings.Join(neededBy, ", "), get)
	}
	return nil
}
