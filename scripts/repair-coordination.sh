#!/bin/sh
# The first system's name for `watchbill repair`.
PATH="$("$(dirname "$0")/environment" user)/bin:$PATH" exec watchbill repair "$@"
