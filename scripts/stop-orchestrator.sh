#!/bin/sh
# The first system's name for `watchbill stop`.
PATH="$("$(dirname "$0")/environment" user)/bin:$PATH" exec watchbill stop "$@"
