#!/bin/sh
# Makes the cluster on an empty volume, then becomes the server. Arguments go to `postgres`.
# POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB count only when the cluster is made.
set -eu

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo "POSTGRES_PASSWORD is not set: the new cluster needs a password for $user." >&2
        exit 1
    fi
    # Made beside and renamed: one that was cut off is never taken for whole.
    new=$PGDATA.new
    rm -rf "$new"
    umask 077
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    initdb --pgdata="$new" --username="$user" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale-provider=builtin --locale=C.UTF-8 --data-checksums
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    if [ "$database" != postgres ]; then
        name=$(printf '%s' "$database" | sed 's/"/""/g')
        printf 'CREATE DATABASE "%s"\n' "$name" | postgres --single -D "$new" postgres >/dev/null
    fi
    sync
    mv "$new" "$PGDATA"
fi

unset POSTGRES_PASSWORD
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
