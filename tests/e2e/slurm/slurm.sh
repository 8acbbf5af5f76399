#!/bin/sh
# A Slurm of one node, for tests: `sbatch`, `squeue`, `scancel` and `srun` are links to this file. A job is a process of this
# machine. What lies in $SLURM_TEST says how it behaves: `down`, it does not answer; `held`, jobs wait until that is gone;
# `waking`, jobs have a node that does not start them; `slow`, sbatch does not say the number of the job that it has taken.
# `accounting` is what sacct writes. `calls` has a line for each call, and one for its end.
set -u
jobs=$SLURM_TEST/jobs
name=${0##*/}
echo "$name $*" >> "$SLURM_TEST/calls"
trap 'echo "answered $name" >> "$SLURM_TEST/calls"' EXIT
[ "$name $1" = "sbatch --version" ] && { echo "slurm 22.05.8"; exit 0; }
if [ -e "$SLURM_TEST/down" ]; then
    echo "$name: error: Unable to contact slurm controller (connect failure)" >&2
    exit 1
fi
say() { echo "$2" > "$jobs/$1/.new"; mv "$jobs/$1/.new" "$jobs/$1/state"; }
run() {
    echo n1 > "$jobs/$1/node"
    say "$1" RUNNING
    (
        SLURM_JOB_ID=$1 SLURMD_NODENAME=n1 sh "$jobs/$1/script" >> "$(cat "$jobs/$1/out")" 2>&1 &
        echo $! > "$jobs/$1/pid"
        wait $!
        code=$?
        word=FAILED
        [ $code -eq 0 ] && word=COMPLETED
        [ -e "$jobs/$1/cancelled" ] && word=CANCELLED
        say "$1" $word
    ) < /dev/null > /dev/null 2>&1 &
}
case $name in
sbatch)
    job= out=/dev/null
    while [ $# -gt 0 ]; do
        case $1 in
        -J) job=$2; shift ;;
        --output=*) out=${1#--output=} ;;
        --partition=nosuch)
            echo "sbatch: error: invalid partition specified: nosuch" >&2
            echo "sbatch: error: Batch job submission failed: Invalid partition name specified" >&2
            exit 1 ;;
        esac
        shift
    done
    mkdir -p "$jobs"
    n=1
    until mkdir "$jobs/$n" 2> /dev/null; do n=$((n + 1)); done
    cat > "$jobs/$n/script"
    echo "$out" > "$jobs/$n/out"
    echo "$job" > "$jobs/$n/name"
    if [ -e "$SLURM_TEST/held" ]; then say $n PENDING
    elif [ -e "$SLURM_TEST/waking" ]; then echo n1 > "$jobs/$n/node"; say $n CONFIGURING
    else run $n; fi
    while [ -e "$SLURM_TEST/slow" ]; do sleep 0.05; done
    echo $n ;;
squeue)
    wanted=
    for word in "$@"; do case $word in --name=*) wanted=${word#--name=} ;; esac; done
    for job in "$jobs"/*; do
        [ -e "$job/state" ] || continue
        called=$(cat "$job/name")
        [ -z "$wanted" ] || [ "$wanted" = "$called" ] || continue
        state=$(cat "$job/state")
        reason=None
        if [ "$state" = PENDING ]; then
            reason=Resources
            [ -e "$SLURM_TEST/held" ] || run "${job##*/}"
        fi
        echo "${job##*/}|$state|$(cat "$job/node" 2> /dev/null)|$called|$reason"
    done ;;
scancel)
    batch=no n=
    for word in "$@"; do case $word in --batch) batch=yes ;; -*) ;; *) n=$word ;; esac; done
    case $(cat "$jobs/$n/state") in
    PENDING | CONFIGURING) say "$n" CANCELLED ;;
    *)
        [ $batch = yes ] || : > "$jobs/$n/cancelled"
        kill -TERM "$(cat "$jobs/$n/pid")" ;;
    esac ;;
srun)
    while [ "${1#-}" != "$1" ]; do shift; done
    exec "$@" ;;
sacct)
    cat "$SLURM_TEST/accounting" 2> /dev/null ;;
esac
