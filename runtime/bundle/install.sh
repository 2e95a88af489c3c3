#!/bin/sh
# Installs the DashFleet agent on this machine, repairs an installation, or removes it:
#
#   curl -fsSL https://HOST/install.sh | sudo sh -s -- --from https://HOST --server mqtts://HOST --ca-sha256 …
#   curl -fsSL https://HOST/install.sh | sudo sh -s -- --uninstall [--keep-data | --retire]
#
# This script obtains Python and the agent's wheel, and verifies them. The rest is in the wheel: `dashfleet agent install
# --help` lists the options. The token is asked for on the terminal, or read from --token-file.
# Everything is in a function that the last line calls, so that a part of this script does nothing.

dashfleet_install() {
    set -eu
    umask 022
    from=""
    prefix=/opt/dashfleet
    uninstall=""
    before=""
    for word in "$@"; do
        case $before in
        --from) from=$word ;;
        --prefix) prefix=$word ;;
        esac
        if [ "$word" = --uninstall ]; then uninstall=yes; fi
        before=$word
    done
    if [ "$(id -u)" != 0 ] && [ "$prefix" = /opt/dashfleet ]; then
        stop "this needs root: run it with sudo"
    fi
    if [ -n "$uninstall" ]; then
        program="$prefix/current/bin/dashfleet"
        [ -x "$program" ] || stop "there is no installation in $prefix: nothing to remove"
        shift_out "$@"
        return
    fi
    [ -n "$from" ] || stop "--from is missing: copy the whole command from the dashboard"
    scratch=$(mktemp -d 2>/dev/null) || stop "cannot write in ${TMPDIR:-/tmp}: is the disk full?"
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' INT TERM HUP
    find_python || obtain_python
    wheel="@AGENT_PATH@"
    get "$wheel" "$scratch/${wheel##*/}" "@AGENT_SHA256@"
    status=0
    PYTHONPATH="$scratch/${wheel##*/}" PYTHONDONTWRITEBYTECODE=1 "$python" -m agent.installation.bootstrap \
        --manifest-sha256 "@MANIFEST_SHA256@" "$@" </dev/null || status=$?
    if [ "$status" != 0 ] && [ -n "${obtained:-}" ]; then
        rm -rf "$prefix/python"
        rmdir "$prefix" 2>/dev/null || :
    fi
    exit "$status"
}

stop() { # stop SENTENCE
    echo "dashfleet: $1" >&2
    exit 2
}

shift_out() { # run the uninstallation, with the options other than --uninstall
    program="$prefix/current/bin/dashfleet"
    count=$#
    while [ "$count" -gt 0 ]; do
        word=$1
        shift
        [ "$word" = --uninstall ] || set -- "$@" "$word"
        count=$((count - 1))
    done
    "$program" agent uninstall "$@" </dev/null
}

find_python() { # set python to a Python of version 3.11 or newer that can make environments
    for python in "$prefix/python/bin/python3" python3 python3.14 python3.13 python3.12 python3.11 \
        /usr/local/bin/python3 /opt/homebrew/bin/python3; do
        if "$python" -c 'import sys, venv, ssl, sqlite3; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            return
        fi
    done
    return 1
}

obtain_python() { # install Python with uv, the one of this system or of the bundle
    needs="the agent needs Python 3.11 or newer: install it (on Debian: apt-get install python3)"
    uv=$(command -v uv) || {
        case "$(uname -s)" in
        Linux) platform=linux ;;
        Darwin) platform=macos ;;
        *) stop "$needs" ;;
        esac
        if ls /lib/ld-musl-* >/dev/null 2>&1; then platform=musl; fi
        platform="$platform-$(uname -m)"
        sha256=""
        programs="@UV@"
        for known in $programs; do
            if [ "${known%%=*}" = "uv-$platform" ]; then sha256=${known#*=}; fi
        done
        [ -n "$sha256" ] || stop "$needs, or on the server: dashfleet bundle --uv --platform $platform"
        uv="$scratch/uv"
        get "$sha256/uv-$platform" "$uv" "$sha256"
        chmod 755 "$uv"
    }
    obtained=yes
    echo "This machine has no Python 3.11 or newer: installing one into $prefix/python …"
    UV_CACHE_DIR="$scratch/cache" UV_PYTHON_INSTALL_DIR="$scratch/python" "$uv" python install --no-bin --quiet 3.12 \
        </dev/null || stop "$needs; uv could not download it"
    for found in "$scratch"/python/cpython-3.12*; do
        if [ -x "$found/bin/python3" ]; then
            mkdir -p "$prefix"
            rm -rf "$prefix/python"
            cp -R "$found/." "$prefix/python" || stop "cannot write in $prefix: is the disk full?"
        fi
    done
    find_python || stop "$needs; the one that uv installed does not start"
}

get() { # get PATH FILE SHA256: a file of the bundle, verified
    case $from in
    http://* | https://*)
        url="${from%/}/bundle/$1"
        if command -v curl >/dev/null 2>&1; then
            curl -fsSL --retry 3 --max-time 300 -o "$2" "$url" </dev/null || stop "cannot download $url"
        elif command -v wget >/dev/null 2>&1; then
            wget -q -T 60 -O "$2" "$url" </dev/null || stop "cannot download $url"
        else
            stop "this needs curl or wget"
        fi
        ;;
    *) cp "$from/$1" "$2" 2>/dev/null || stop "there is no $1 in $from, or the disk is full" ;;
    esac
    if command -v sha256sum >/dev/null 2>&1; then
        sum=$(sha256sum "$2")
    elif command -v shasum >/dev/null 2>&1; then
        sum=$(shasum -a 256 "$2")
    else
        stop "this needs sha256sum or shasum"
    fi
    [ "${sum%% *}" = "$3" ] || stop "${1##*/} from $from does not have the expected SHA-256: nothing was installed"
}

dashfleet_install "$@"
