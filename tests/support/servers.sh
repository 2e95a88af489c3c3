#!/bin/sh
# The real servers that the tests run. As root on Debian they are installed; elsewhere one line says what to install.
set -eu

missing=""
need() { # need PACKAGE PROGRAM...: the package is missing when none of the programs or files is there
    package=$1
    shift
    for program in "$@"; do
        case $program in /*) if [ -e "$program" ]; then return; fi ;; esac
        if PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null 2>&1; then return; fi
    done
    missing="$missing $package"
}

need mosquitto mosquitto
need nats-server nats-server
need postgresql /usr/lib/postgresql/*/bin/postgres
need chromium-headless-shell chromium-headless-shell chromium
need nginx-light nginx
need iproute2 ip
need nftables nft
need nodejs node
need npm npm
need golang-go go
need golang-github-eclipse-paho.mqtt.golang-dev /usr/share/gocode/src/github.com/eclipse/paho.mqtt.golang/client.go
need mosquitto-clients mosquitto_sub
need jq jq
need strace strace
need faketime faketime
need shellcheck shellcheck
need debootstrap debootstrap
need systemd-container systemd-nspawn
need curl curl
need monitoring-plugins-basic /usr/lib/nagios/plugins/check_load

modules() { # of node: foreign clients of the brokers
    cd "$(dirname "$0")/node"
    if [ node_modules/.package-lock.json -nt package-lock.json ] || ! command -v npm >/dev/null 2>&1; then return; fi
    npm ci --no-audit --no-fund --ignore-scripts --silent ||
        echo "some tests will be skipped; to run them: npm ci in tests/support/node"
}

if [ -z "$missing" ]; then
    modules
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing what the tests need:$missing"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "some tests will be skipped; to run them: apt-get install$missing"
fi
modules
