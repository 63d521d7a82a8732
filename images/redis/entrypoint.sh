#!/bin/sh
# Becomes the server. Arguments go to `valkey-server`, such as `--maxmemory 200mb`.
set -eu

if [ -z "${REDIS_PASSWORD:-}" ]; then
    echo "REDIS_PASSWORD is not set: the server takes nobody in without one." >&2
    exit 1
fi
password=$(printf '%s' "$REDIS_PASSWORD" | sed 's/[\\"]/\\&/g')
unset REDIS_PASSWORD

# By standard input, where no list of processes shows it. Nothing is written: the ledger is the truth.
exec valkey-server - "$@" <<CONFIGURATION
bind * -::*
port 6379
dir /data
requirepass "$password"
maxmemory-policy noeviction
save ""
appendonly no
CONFIGURATION
