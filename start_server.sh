#!/usr/bin/env bash
# What runs on a rented machine, beside the model server: makes the worker's surroundings, starts the worker, and
# keeps it running until it is told to end. The engine hears of every step that fails.
# How to use it: docs/how-to/deploy.md. Its variables: docs/reference/environment.md.
# shellcheck disable=SC2329 # steps are called by their names
set -euo pipefail

readonly VERSION=start_server-1
readonly EXIT_UPDATE=75 # the worker asks for the newest version
readonly TRIES=5
[[ ${PYWORKER_RETRY_S:-} =~ ^[0-9]+$ ]] || PYWORKER_RETRY_S=2
readonly FIRST_PAUSE_S=$PYWORKER_RETRY_S
readonly LONGEST_PAUSE_S=60
readonly LOG_BYTES=50000000 # of pyworker.log, before another is begun
readonly RAN_WELL_S=600 # a worker that ran so long is started again at once
readonly ROOT=${PYWORKER_ROOT:-}
readonly FORCE_UPDATE=$ROOT/.force_update
OWN_FOLDER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly OWN_FOLDER
readonly SCRIPT=$OWN_FOLDER/${BASH_SOURCE[0]##*/}

child=   # what a signal is passed on to: the worker, or a pause
stopping=false

# --- telling ---------------------------------------------------------------------------------------

say() { printf 'start_server: %s\n' "$*"; }

# Text as a JSON string, in plain ASCII.
json() {
    local text
    text=$(printf '%s' "${1:0:2000}" | LC_ALL=C tr -c '\n\t -~' '?')
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\n'/\\n}
    text=${text//$'\t'/\\t}
    printf '"%s"' "$text"
}

addresses() { tr ',' '\n' <<<"${REPORT_ADDR:-}" | sed -e 's/[[:space:]]//g' -e 's,/*$,,' -e '/^$/d'; }

public_port_name() { printf 'VAST_TCP_PORT_%s' "${WORKER_PORT//[^0-9A-Za-z_]/_}"; }

url() {
    local scheme=https public
    public=$(public_port_name)
    is_true USE_SSL || scheme=http
    printf '%s://%s:%s' "$scheme" "${PUBLIC_IPADDR:-}" "${!public:-}"
}

# A report with this error ("": none) to the first engine that takes it. What it holds is on no command line.
report() {
    local address body
    [[ ${CONTAINER_ID:-} =~ ^[0-9]+$ ]] || return 1
    body=$(printf '{"id":%s,"mtoken":%s,"version":%s,"error_msg":%s,"url":%s}' \
        "$((10#$CONTAINER_ID))" "$(json "${MASTER_TOKEN:-}")" "$(json "$VERSION")" "$(json "$1")" "$(json "$(url)")")
    while read -r address; do
        if curl --silent --fail --output /dev/null --max-time 10 --header 'Content-Type: application/json' \
            --data-binary @- "$address/worker_status/" <<<"$body"; then
            return 0
        fi
        say "the engine at $address did not take the report"
    done < <(addresses)
    return 1
}

tell() {
    say "$1" >&2
    report "$1" || say 'no engine could be told' >&2
}

fail() {
    tell "$1"
    exit 1
}

# step WORDS FUNCTION: one of the steps below, in a process of its own, so that `set -e` holds in it. When it fails, the
# engine gets the last lines of what it said.
step() {
    local status=0
    ! $stopping || exit 143
    say "$1"
    { "$BASH" "$SCRIPT" --step "$2" 2>&1 | without_passwords | tee "$scratch/step.log"; } || status=$?
    ((status == 0)) || tell "$1: $(tail -n 5 "$scratch/step.log")"
    return "$status"
}

without_passwords() { sed -u 's,://[^/@[:space:]]*@,://,g'; }

# --- small things ------------------------------------------------------------------------------------

is_true() { [[ ${!1:-} =~ ^([Tt][Rr][Uu][Ee]|1)$ ]]; }

pause() {
    $stopping && return
    sleep "$1" &
    child=$!
    wait "$child" || true
    child=
}

# retry COMMAND...: until it succeeds, TRIES times at most, with longer and longer pauses.
retry() {
    local try pause_s=$FIRST_PAUSE_S
    for ((try = 1; try < TRIES; try++)); do
        "$@" && return
        sleep "$pause_s"
        pause_s=$((pause_s * 2))
    done
    "$@"
}

pass_on() {
    stopping=true
    [[ -z $child ]] || kill -TERM "$child" 2>/dev/null || true
}

# --- what there must be --------------------------------------------------------------------------------

set_defaults() {
    export WORKER_PORT=${WORKER_PORT:-3000} USE_SSL=${USE_SSL:-true}
    export SSL_CERT=${SSL_CERT:-$ROOT/etc/instance.crt} SSL_KEY=${SSL_KEY:-$ROOT/etc/instance.key}
    WORKSPACE_DIR=${WORKSPACE_DIR:-$ROOT/workspace}
    ENV_PATH=${ENV_PATH:-$WORKSPACE_DIR/worker-env}
    folder=$OWN_FOLDER
    [[ -z ${PYWORKER_REPO:-} ]] || folder=$WORKSPACE_DIR/worker
}

# All that is missing, each with what it is for.
missing() {
    need REPORT_ADDR 'the address of the engine, or several separated by commas'
    need MASTER_TOKEN 'the secret of this instance, which proves its reports to the engine'
    need CONTAINER_ID 'the number of this instance, by which the engine knows this worker' '^[0-9]+$'
    need PUBLIC_IPADDR 'the address under which clients reach this machine'
    need WORKER_PORT 'the port that the worker listens on' '^[0-9]+$'
    need "$(public_port_name)" 'the port that the outside sees for it' '^[0-9]+$'
    [[ -n ${PYWORKER_REPO:-} || -e $OWN_FOLDER/worker.py ]] ||
        need BACKEND "the folder of the worker under $OWN_FOLDER/workers"
    ! is_true ROTATE_MODEL_LOG || need MODEL_LOG 'the log of the model server, which ROTATE_MODEL_LOG moves away'
    need_program curl 'to call the engine'
    if is_true USE_SYSTEM_PYTHON || ! command -v uv >/dev/null; then
        need_program python3 'to run the worker, or to install uv'
    fi
    ! is_true USE_SSL || need_program openssl 'to ask for a certificate (or set USE_SSL=false)'
    [[ -z ${PYWORKER_REPO:-} ]] || need_program git 'to fetch PYWORKER_REPO'
}

# need NAME USE [PATTERN]: says so when the variable is not there, or does not look like it should.
need() {
    local value=${!1:-}
    if [[ -z $value ]]; then
        printf '  - %s is missing: %s\n' "$1" "$2"
    elif [[ ! $value =~ ${3:-.} ]]; then
        printf '  - %s is no number: %s\n' "$1" "$2"
    fi
}

need_program() { command -v "$1" >/dev/null || printf '  - the program %s is missing: %s\n' "$1" "$2"; }

require_all() {
    local problems
    problems=$(missing)
    [[ -z $problems ]] || fail "$(printf 'the machine is not set up completely:\n%s' "$problems")"
}

# --- the steps -------------------------------------------------------------------------------------------

rotate_model_log() {
    [[ ! -e $MODEL_LOG ]] || mv -f -- "$MODEL_LOG" "$MODEL_LOG.old"
}

fetch() {
    mkdir -p -- "$folder"
    cd -- "$folder"
    [[ -e .git ]] || git init --quiet
    retry git fetch --quiet --depth 1 -- "$PYWORKER_REPO" "${PYWORKER_REF:-HEAD}"
    git checkout --quiet --force --detach FETCH_HEAD
}

# Where pyworker itself is run from: a checkout of it, the fetched one first.
pyworker_folder() {
    local candidate
    for candidate in "$folder" "$OWN_FOLDER"; do
        if [[ -d $candidate/src/pyworker ]]; then
            printf '%s' "$candidate"
            return
        fi
    done
    echo "neither $folder nor $OWN_FOLDER holds pyworker: fetch a repository that does, or start its own start_server.sh"
    return 1
}

install_packages() {
    local from
    from=$(pyworker_folder) || { echo "$from" && return 1; }
    if is_true USE_SYSTEM_PYTHON; then
        set -- env PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet
    else
        command -v uv >/dev/null || PIP_BREAK_SYSTEM_PACKAGES=1 retry python3 -m pip install --quiet uv
        [[ -x $ENV_PATH/bin/python ]] || uv venv --quiet --python '>=3.11' -- "$ENV_PATH"
        set -- uv pip install --quiet --python "$ENV_PATH/bin/python"
    fi
    retry "$@" --require-hashes -r "$from/requirements/run.txt"
    [[ ! -e $folder/requirements.txt ]] || retry "$@" -r "$folder/requirements.txt"
}

# A certificate of the engine for this machine's address; one that is there and good for some days is kept.
certify() {
    if is_certificate "$SSL_CERT" "$SSL_KEY" && openssl x509 -noout -checkend 604800 -in "$SSL_CERT" >/dev/null &&
        openssl x509 -noout -ext subjectAltName -in "$SSL_CERT" | grep --quiet --word-regexp --fixed-strings -- "$PUBLIC_IPADDR"; then
        return
    fi
    umask 077
    mkdir -p -- "$(dirname "$SSL_CERT")" "$(dirname "$SSL_KEY")"
    openssl req -new -newkey rsa:2048 -nodes -subj "/CN=$CONTAINER_ID" \
        -keyout "$scratch/instance.key" -out "$scratch/instance.csr" 2>/dev/null
    report '' || echo 'no engine took the first report, which tells it the address' # a certificate is for that
    retry ask_for_certificate
    mv -f -- "$scratch/instance.key" "$SSL_KEY"
    chmod 644 "$scratch/instance.crt"
    mv -f -- "$scratch/instance.crt" "$SSL_CERT"
}

ask_for_certificate() {
    local address token=${MASTER_TOKEN//\\/\\\\}
    while read -r address; do
        rm -f -- "$scratch/instance.crt"
        if printf 'header = "Authorization: Bearer %s"\n' "${token//\"/\\\"}" |
            curl --config - --silent --show-error --max-time 20 --data-binary "@$scratch/instance.csr" \
                --output "$scratch/instance.crt" "$address/api/v0/sign_cert/?instance_id=$CONTAINER_ID" &&
            is_certificate "$scratch/instance.crt" "$scratch/instance.key"; then
            return
        fi
        echo "$address answered no certificate for this key: $(head -c 300 "$scratch/instance.crt" 2>/dev/null | tr '\0\n' '  ')"
    done < <(addresses)
    return 1
}

# is_certificate FILE KEY: a certificate, and for this key; an error page is none.
is_certificate() {
    local certified
    [[ -s $1 && -s $2 ]] || return 1
    certified=$(openssl x509 -noout -pubkey -in "$1" 2>/dev/null) || return 1
    [[ $certified == "$(openssl pkey -pubout -in "$2" 2>/dev/null)" ]]
}

# --- the worker ------------------------------------------------------------------------------------------

target() {
    local candidate
    for candidate in worker.py "workers/${BACKEND:-}/worker.py" "workers/${BACKEND:-}/server.py"; do
        if [[ -f $folder/$candidate ]]; then
            printf '%s' "$candidate"
            return
        fi
    done
    return 1
}

# prepare UPDATE: everything before the worker; what is there already is made anew when UPDATE is true, or kept where that
# fails.
prepare() {
    local update=$1
    [[ ! -e $FORCE_UPDATE ]] || update=true
    if [[ -z ${PYWORKER_REPO:-} ]]; then
        rm -f -- "$FORCE_UPDATE"
    elif $update || ! target >/dev/null; then
        if step "fetching $(without_passwords <<<"$PYWORKER_REPO")" fetch; then
            rm -f -- "$FORCE_UPDATE"
        else
            $update || return 1
        fi
    fi
    if ! target >/dev/null; then
        tell "there is no worker.py in $folder, and no worker.py or server.py in workers/${BACKEND:-BACKEND}: set BACKEND"
        return 1
    fi
    step 'installing packages' install_packages || $update || return 1
    ! is_true USE_SSL || step 'asking for a certificate' certify || is_certificate "$SSL_CERT" "$SSL_KEY"
}

run_worker() {
    local python=$ENV_PATH/bin/python status=0 path
    ! is_true USE_SYSTEM_PYTHON || python=python3
    path=$(pyworker_folder)/src${PYTHONPATH:+:$PYTHONPATH}
    cd -- "$folder" || return
    PYTHONPATH=$path "$python" -m pyworker.cli run "$(target)" \
        > >(trap '' TERM INT && keep_log "$WORKSPACE_DIR/pyworker.log" "$LOG_BYTES") 2>&1 &
    child=$!
    ! $stopping || kill -TERM "$child"
    wait "$child" || status=$?
    while kill -0 "$child" 2>/dev/null; do # a signal ended the waiting, and not the worker
        status=0
        wait "$child" || status=$?
    done
    child=
    return "$status"
}

# keep_log FILE BYTES: what comes goes on, and to a file; when that is full it becomes FILE.old and another is begun.
keep_log() {
    local line size=0
    exec 3>"$1"
    while IFS= read -r line || [[ -n $line ]]; do
        printf '%s\n' "$line"
        printf '%s\n' "$line" >&3
        size=$((size + ${#line} + 1))
        if ((size >= $2)); then
            mv -f -- "$1" "$1.old"
            exec 3>"$1"
            size=0
        fi
    done
}

# The last lines that pyworker itself wrote: what an author prints may be a prompt, and is no engine's business.
last_words() {
    local own='^([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]+ [A-Z]+ +pyworker[.a-z_]*: |\{"time":)' words
    words=$(grep --text --extended-regexp -- "$own" "$WORKSPACE_DIR/pyworker.log" | tail -n 5) || true
    printf '%s' "${words:-what it wrote is in $WORKSPACE_DIR/pyworker.log}"
}

# Start the worker again and again, until it ends well or is told to.
keep_running() {
    local status began_s pause_s=$FIRST_PAUSE_S
    until $stopping; do
        began_s=$SECONDS status=0
        run_worker || status=$?
        if $stopping || ((status == 0)); then
            return "$status"
        fi
        if ((status == EXIT_UPDATE)); then
            say 'the worker asks for the newest version'
            prepare true || return 1
            continue
        fi
        ((SECONDS - began_s < RAN_WELL_S)) || pause_s=$FIRST_PAUSE_S
        tell_of_crash "$status" "$pause_s"
        pause "$pause_s"
        pause_s=$((pause_s * 2 < LONGEST_PAUSE_S ? pause_s * 2 : LONGEST_PAUSE_S))
        [[ ! -e $FORCE_UPDATE ]] || prepare true || return 1
    done
}

tell_of_crash() {
    tell "the worker ended with status $1 and is started again in $2 s: $(last_words)"
}

main() {
    require_all
    scratch=$(mktemp -d) || fail 'no temporary folder can be made: make room on the disk, or set TMPDIR'
    export scratch
    trap 'rm -rf -- "$scratch"' EXIT
    trap pass_on TERM INT
    { mkdir -p -- "$WORKSPACE_DIR" && touch -- "$WORKSPACE_DIR/pyworker.log"; } ||
        fail "the folder $WORKSPACE_DIR cannot be written: make it this user's, or set WORKSPACE_DIR"
    ! is_true ROTATE_MODEL_LOG || step 'rotating the model log' rotate_model_log || exit 1
    prepare false || exit 1
    keep_running
}

set_defaults
if [[ ${1:-} == --step ]]; then
    "${@:2}"
else
    main
fi
