package local

import "os"

// DieAt makes this process die at a step of its next change, as by SIGKILL.
func DieAt(step string) {
	testHook = func(at string) {
		if at != step {
			return
		}
		if self, err := os.FindProcess(os.Getpid()); err == nil {
			self.Kill()
		}
		select {} // until it is dead
	}
}
