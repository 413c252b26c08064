package statefile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"testing"
)

// What an envelope says outside is what the state inside says.
func TestEnvelopeHeader(t *testing.T) {
	for name, want := range goldens {
		if !want.Encrypted {
			continue
		}
		t.Run(name, func(t *testing.T) {
			inside, err := ReadHeader(decrypt(t, golden(t, name)))
			if err != nil {
				t.Fatal(err)
			}
			if inside.Serial != want.Serial || inside.Lineage != want.Lineage {
				t.Errorf("inside is %+v, outside %+v", inside, want)
			}
		})
	}
}

func TestEnvelopeIsClosed(t *testing.T) {
	data := golden(t, "opentofu-1.12.6-encrypted.json")
	if _, err := Outputs(data); !errors.Is(err, ErrEncrypted) {
		t.Errorf("Outputs: %v, want ErrEncrypted", err)
	}
	if _, err := Bump(data); !errors.Is(err, ErrEncrypted) {
		t.Errorf("Bump: %v, want ErrEncrypted", err)
	}
	if _, err := SetSerial(data, 9); !errors.Is(err, ErrEncrypted) {
		t.Errorf("SetSerial: %v, want ErrEncrypted", err)
	}
}

// decrypt opens an envelope made with pbkdf2 and aes_gcm.
func decrypt(t *testing.T, data []byte) []byte {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var envelope struct {
		Meta map[string][]byte
		Data []byte `json:"encrypted_data"`
	}
	check(json.Unmarshal(data, &envelope))
	var meta struct {
		Salt       []byte
		Iterations int
		KeyLength  int `json:"key_length"`
	}
	check(json.Unmarshal(envelope.Meta["key_provider.pbkdf2.mykey"], &meta))
	key, err := pbkdf2.Key(sha512.New, "correct-horse-battery-staple", meta.Salt, meta.Iterations, meta.KeyLength)
	check(err)
	block, err := aes.NewCipher(key)
	check(err)
	gcm, err := cipher.NewGCM(block)
	check(err)
	nonce, sealed := envelope.Data[:gcm.NonceSize()], envelope.Data[gcm.NonceSize():]
	plain, err := gcm.Open(nil, nonce, sealed, nil)
	check(err)
	return plain
}
