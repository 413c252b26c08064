terraform {
  backend "s3" {
    bucket                      = "b"
    region                      = "us-east-1"
    access_key                  = "a"
    secret_key                  = "s"
    skip_credentials_validation = true
    skip_requesting_account_id  = true
    shared_config_files         = ["z", "a"]
    endpoints                   = { s3 = "http://127.0.0.1:18431/s3" }
    max_retries                 = 1
  }
}
