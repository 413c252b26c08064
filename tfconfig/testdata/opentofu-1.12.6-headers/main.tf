variable "team" {
  default = "a"
}

terraform {
  backend "http" {
    address = "http://127.0.0.1:1/x"
    headers = { team = var.team, "x-b" = "b" }
  }
}
