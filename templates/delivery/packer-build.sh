#!/bin/sh
# Written by hardtack, from templates/delivery/packer-build.sh: one build by QEMU, with a key of its own.
# build IMAGE [packer's words..]     IMAGE is a disk of {{ image }} with a boot loader; without KVM: -var accelerator=none;
# for a disk that only UEFI starts: -var 'qemuargs=[["-bios","/usr/share/ovmf/OVMF.fd"]]'
set -eu
if [ $# = 0 ] || [ ! -f "$1" ]; then
    echo 'usage: build IMAGE [words for packer..]' >&2
    exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
image=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
# It lets in whoever has the key, and the key goes with the build: nobody else can come by it.
ssh-keygen -q -t ed25519 -N '' -C packer -f "$work/key"
cat >"$work/user-data" <<SEED
#cloud-config
users:
  - name: packer
    shell: /bin/bash
    sudo: "ALL=(ALL:ALL) NOPASSWD:ALL"
    ssh_authorized_keys: ["$(cat "$work/key.pub")"]
SEED
echo 'instance-id: packer-build' >"$work/meta-data"
# Before 1.7 Packer takes the one file: it does not know what is in the other.
template=$here
case $(packer version | head -n 1) in 'Packer v1.'[0-6].*) template=$here/{{ name }}.pkr.hcl ;; esac
packer build -only=qemu.machine -var "image_url=$image" -var "seed=$work" -var "private_key_file=$work/key" "$@" "$template"
