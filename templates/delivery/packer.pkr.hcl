# Written by hardtack, from templates/delivery/packer.pkr.hcl: {{ name }} as an image. Packer 1.6.6, and in the present syntax.
# build IMAGE makes a key and a seed for one build by QEMU, and runs it.
{% if amazon %}
# For Amazon: packer init . && packer build -only=amazon-ebs.machine .
{% endif %}
# The hardening is staged: it is applied at the first start of a machine of this image, and never cuts off its builder.

variable "image_url" {
  type        = string
  default     = ""
  description = "The disk to start from: a path or a URL of {{ image }}, with a boot loader of its own."
}

variable "image_checksum" {
  type        = string
  default     = "none"
  description = "Its digest, as sha256:HEX."
}

variable "seed" {
  type        = string
  default     = ""
  description = "A folder with user-data and meta-data that let the build in; see build."
}

variable "private_key_file" {
  type        = string
  default     = ""
  description = "The key that they let in."
}

variable "accelerator" {
  type    = string
  default = "kvm"
}

variable "qemuargs" {
  type        = list(list(string))
  default     = []
  description = "More words for QEMU; for a disk that only UEFI starts: [[\"-bios\", \"/usr/share/ovmf/OVMF.fd\"]]."
}

variable "output" {
  type        = string
  default     = "{{ name }}.image"
  description = "The folder for {{ name }}.qcow2. It must not be there yet."
}

{% if amazon %}
variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "source_ami_name" {
  type    = string
  default = "{{ amazon.name }}"
}

variable "source_ami_owner" {
  type        = string
  default     = "{{ amazon.owner }}"
  description = "The account of those who make it."
}

variable "ami_user" {
  type    = string
  default = "{{ amazon.user }}"
}
{% endif %}

source "qemu" "machine" {
  iso_url              = var.image_url
  iso_checksum         = var.image_checksum
  disk_image           = true
  skip_resize_disk     = true
  format               = "qcow2"
  disk_interface       = "virtio"
  net_device           = "virtio-net"
  accelerator          = var.accelerator
  qemuargs             = var.qemuargs
  headless             = true
  memory               = 1024
  cpus                 = 1
  cd_files             = ["${var.seed}/user-data", "${var.seed}/meta-data"]
  cd_label             = "cidata"
  ssh_username         = "packer"
  ssh_private_key_file = var.private_key_file
  ssh_timeout          = "30m"
  # One command: after it nobody is there who could log in.
  shutdown_command     = "sudo -n sh ./seal packer"
  shutdown_timeout     = "15m"
  output_directory     = var.output
  vm_name              = "{{ name }}.qcow2"
}

{% if amazon %}
source "amazon-ebs" "machine" {
  ami_name                  = "{{ name }}-${formatdate("YYYYMMDDhhmmss", timestamp())}"
  region                    = var.region
  instance_type             = var.instance_type
  ssh_username              = var.ami_user
  ssh_clear_authorized_keys = true
  source_ami_filter {
    filters = {
      name                = var.source_ami_name
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = [var.source_ami_owner]
    most_recent = true
  }
}
{% endif %}

build {
  sources = ["source.qemu.machine"{% if amazon %}, "source.amazon-ebs.machine"{% endif %}]

  # 2 is "degraded": something could not be done, and is named.
  provisioner "shell" {
    inline = [
      "status=0; cloud-init status --wait >/dev/null || status=$?",
      "case $status in 0) ;; 2) echo 'cloud-init is degraded, and the build goes on:'; cloud-init status --long ;; *) cloud-init status --long; exit 1 ;; esac",
    ]
  }

  provisioner "file" {
    sources     = ["${path.root}/{{ archive }}", "${path.root}/install", "${path.root}/seal"]
    destination = "./"
  }

  provisioner "shell" {
    inline = ["sudo -n sh ./install --next-boot"]
  }
{% if amazon %}

  # Amazon stops the machine by itself.
  provisioner "shell" {
    only       = ["amazon-ebs.machine"]
    inline     = ["sudo -n sh ./seal --stay \"$(id -un)\""]
    skip_clean = true
  }
{% endif %}
}
