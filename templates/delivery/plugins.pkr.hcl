# Written by hardtack, from templates/delivery/plugins.pkr.hcl: for packer init, which Packer has since 1.7. Older ones are given the other
# file alone: they have these plugins in them, and do not know this block.

packer {
  required_plugins {
    qemu = {
      version = ">= 1.0.0"
      source  = "github.com/hashicorp/qemu"
    }
    amazon = {
      version = ">= 1.0.0"
      source  = "github.com/hashicorp/amazon"
    }
  }
}
