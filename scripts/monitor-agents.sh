#!/bin/sh
# The first system's name for `watchbill monitor`.
PATH="$("$(dirname "$0")/environment" user)/bin:$PATH" exec watchbill monitor "$@"
