#!/bin/sh
# One step of a pipeline: an experiment from its event to its best parameters, with curl and jq.
#
#     TRIALBUS_URL=http://trialbus:8080 RUN_ID=nightly-42 sh tune.sh experiment.json > best.json
#
# experiment.json holds an Experiment. best.json then holds its best parameters as a JSON object.
# TRIALBUS_TOKEN, if it is set, says who asks. The same RUN_ID is the same experiment: a step that is
# started again waits on for what it created before. `metadata.generateName` instead of a name gives
# each run an experiment of its own. Exit code 1: the experiment has failed or was deleted; 2: it was
# refused; 3: the gateway is away for too long.
set -eu

wait_s=${WAIT_S:-300} # for one answer: less than what proxies close
away_s=600            # the gateway may be away for as long
experiment=${1:?a file with an Experiment}
url=${TRIALBUS_URL:?}
url=${url%/}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
umask 077
# Not among the arguments, which everybody on the machine can read.
: > "$folder/curl"
if [ -n "${TRIALBUS_TOKEN:-}" ]; then
    printf 'header = "authorization: Bearer %s"\n' "$TRIALBUS_TOKEN" > "$folder/curl"
fi
mark=$(printf %s "${RUN_ID:?}" | sha256sum | cut -c 1-8)
jq --null-input --arg id "$RUN_ID" --arg mark "$mark" --slurpfile data "$experiment" \
    '{specversion: "1.0", id: $id, source: "/pipelines", type: "io.trialbus.experiment.create.v1",
      data: ($data[0] | if .metadata.generateName
             then .metadata |= (.name = .generateName + $mark | del(.generateName)) else . end)}' \
    > "$folder/event"

# Prints the status; the answer is in $folder/answer.
call() {
    curl --silent --config "$folder/curl" --output "$folder/answer" --write-out '%{http_code}' "$@" ||
        true
}

complain() {
    jq --raw-output '.message, (.problems[]? | "\(.field): \(.message)")' "$folder/answer" >&2 ||
        cat "$folder/answer" >&2
}

away_since=
while :; do
    status=$(call --max-time $((wait_s + 60)) --header 'content-type: application/cloudevents+json' \
        --data-binary @"$folder/event" "$url/v1/events?wait=$wait_s")
    if [ "$status" = 202 ]; then
        away_since=
        uid=$(jq --raw-output .uid "$folder/answer")
        path=$(jq --raw-output '"/v1/namespaces/\(.namespace)/experiments/\(.experiment)"' "$folder/answer")
        status=$(call --max-time 60 "$url$path")
        if [ "$status" = 200 ]; then
            [ "$(jq --raw-output .metadata.uid "$folder/answer")" = "$uid" ] && continue
            echo "the experiment was deleted" >&2
            exit 1
        fi
    elif [ "$status" = 200 ]; then
        break
    fi
    case $status in
    404) complain; exit 1 ;;
    408 | 429) ;;
    4??) complain; exit 2 ;;
    esac
    now=$(date +%s)
    if [ $((now - ${away_since:=$now})) -gt "$away_s" ]; then
        echo "the gateway is away: status $status" >&2
        exit 3
    fi
    sleep 2
done

if [ "$(jq --raw-output .result.phase "$folder/answer")" != Succeeded ]; then
    jq --raw-output '.result | "\(.phase): \(.reason): \(.message)"' "$folder/answer" >&2
    exit 1
fi
if ! jq --exit-status .result.best.parameters "$folder/answer"; then
    echo "the experiment has ended without a best trial" >&2
    exit 1
fi
