terraform {
  backend "http" {
    address                = "http://127.0.0.1:1/x"
    retry_max              = "3"
    skip_cert_verification = "true"
  }
}
