#!/bin/sh
# A person's own program, with a hole that is filled when it is baked.
# shellcheck disable=SC2016 # whatever falls into it is quoted
echo {{ values.greeting }}
