#!/bin/sh
# Show the presence of every machine of an organisation, with mosquitto_sub and jq.
#
# DASHFLEET_SERVER (mqtt://HOST:PORT), DASHFLEET_USERNAME, DASHFLEET_PASSWORD and DASHFLEET_ORG say where and as whom to
# connect: `dashfleet principal add robot --role reader` creates a credential.
set -eu

# The secret is an option in a file that only this user can read: arguments are visible to everybody.
XDG_CONFIG_HOME=$(mktemp -d)
export XDG_CONFIG_HOME
trap 'rm -r "$XDG_CONFIG_HOME"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
printf -- '-u %s\n-i %s\n-P %s\n' "$DASHFLEET_USERNAME" "$DASHFLEET_USERNAME" "$DASHFLEET_PASSWORD" \
    >"$XDG_CONFIG_HOME/mosquitto_sub"

address=${DASHFLEET_SERVER#*://}

# mosquitto_sub connects again and subscribes again by itself, but ends when it is refused: then it is started again.
while true; do
    mosquitto_sub -h "${address%:*}" -p "${address##*:}" -q 1 -F '%t %p' \
        -t "dashfleet/v1/$DASHFLEET_ORG/_presence/+" || true
    sleep 1
done | jq --raw-input --raw-output --unbuffered '
    capture("/(?<machine>[^/ ]+) (?<payload>.*)$")
    | .machine as $machine
    | if .payload == "" then "\($machine) removed"
      else
          .payload
          | try fromjson catch empty   # what cannot be read is skipped
          | objects
          | select(.presence | type == "string")
          | "\($machine) \(.presence)" + if .verified == false then " unverified" else "" end
      end'
