# What the tables' scripts share: a list of commands, trained one after the other. To be sourced, not run.
#
#   common OPTION...    of every command that follows
#   train OPTION...     main.py with these options, the common ones and those given to the script
#   table NAME          the results of these commands go into NAME_METHOD.mat, a file for each model type; a table that was
#                       begun in one file, NAME.mat, goes on there
#   every_method NAME...    `train` for each method of a table, with these transfer configurations
#   finish              ends the script with a summary
#
# A command with --grid counts as many times as it has combinations; with ONLY it trains one of them.
# LIST=1 prints the commands, numbered, instead; STATUS=1 says how far each is and how long the rest will take.
# ONLY=7: the seventh only (an element of a Slurm array), also with these two.
# PYTHON is the Python to use (default: python3).
# Exit status: 0; 1: a trial failed, the others were trained; 2: a mistake; 75: interrupted. In every case the same
# script goes on where it stopped: what is finished is not trained again.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
given=("$@") shared=() name= number=0 trained=0 failed=0 child= asked= all=()

common() { shared=("$@"); }

table() { name=$1; }

# The result file of a command: the option, unless another one was given to the script.
result_file() {
    local word before= folder=Result model=
    for word in ${given[@]+"${given[@]}"} --; do
        case $before in --result_dir) folder=$word ;; esac
        case $word in --result_dir=*) folder=${word#*=} ;; esac
        before=$word
    done
    case $folder in '~'|'~/'*) folder=${HOME:-~}${folder#'~'} ;; esac
    before=
    for word in "$@"; do
        [ "$before" != --model_type ] || model=$word
        before=$word
    done
    if [ -e "$folder/$name.mat" ] || [ -e "$folder/$name" ]; then echo "$name.mat"; else echo "${name}_$model.mat"; fi
}

# A signal is passed on, so that the running trials save a checkpoint.
trap 'asked+=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM INT HUP USR1 USR2 XCPU

# How many combinations the --grid of a command has (classification/experiment/grid.py); 1 without.
combinations() {
    local word before=
    for word in "$@"; do
        case $before in --grid) echo "$word" ;; esac
        case $word in --grid=*) echo "${word#--grid=}" ;; esac
        before=$word
    done | awk -F= '
        { given[$1]++; values[$1] = gsub(/,/, ",") + 1 }
        END { count = 1; for (name in given) count *= given[name] > 1 ? given[name] : values[name]; print count }'
}

shown() { sed -E 's|://[^ /?#]*@|://|g' <<< "$*"; }      # a command without the passwords of addresses

train() {
    local command=("${PYTHON:-python3}" main.py "$@" "${shared[@]}") status signals=none first count=1 element
    [ -z "$name" ] || command+=(--save_mat_name "$(result_file "$@")")
    command+=(${given[@]+"${given[@]}"})
    case " ${command[*]}" in *' --grid'[=\ ]*) count=$(combinations "${command[@]}") ;; esac
    first=$((number + 1)) number=$((number + count))
    if [ -n "${ONLY:-}" ]; then
        [ "$ONLY" -ge "$first" -a "$ONLY" -le "$number" ] 2>/dev/null || return 0
        [ "$count" = 1 ] || command+=(--grid_element $((ONLY - first + 1)))
        first=$ONLY count=1
    fi
    if [ -n "${LIST:-}" ]; then
        [ "$count" != 1 ] || echo "$first: $(shown "${command[@]}")"
        for ((element = 1; count > 1 && element <= count; element++)); do
            echo "$((first + element - 1)): $(shown "${command[@]}" --grid_element $element)"
        done
        return
    fi
    if [ -n "${STATUS:-}" ]; then
        all+=($((${#command[@]} - 2)) "$first" "${command[@]:2}")
        return
    fi
    [ -z "$asked" ] || exit 75
    trained=$((trained + 1))
    [ "$count" = 1 ] || first=$first-$number
    echo "== $first: $(shown "${command[@]}")"
    "${command[@]}" & child=$!
    until [ "$signals" = "$asked" ]; do signals=$asked; wait "$child"; status=$?; done      # a signal ends a wait early
    child=
    case $status in
        0) ;;
        1) failed=$((failed + 1)) ;;
        *) echo "== stopped at command $first (status $status); the same script goes on there" >&2; exit $status ;;
    esac
}

# Every method of the paper's tables; the arguments name the fixed transfer configurations. `layer_groups`: of LASEMG, where the
# published groups are single layers, with which it would be LASEM.
every_method() {
    local model layers mechanism
    # The two extremes, and networks that do not choose.
    train --model_type STL
    train --model_type SNN
    train --model_type ProgNN --test_type 1
    train --model_type DEN
    train --model_type EWC --test_type 2
    train --model_type ChannelGate
    train --model_type APD --transfer_config all

    # Fixed transfer configurations.
    for model in Hybrid_HPS Hybrid_TF Hybrid_DFCNN; do
        for layers in "$@"; do
            train --model_type "$model" --transfer_config "$layers"
        done
    done

    # Searches: LASEM, group-based LASEM, LASEM that counts winners, DARTS.
    for mechanism in HPS TF DFCNN; do
        train --model_type "LASEM_$mechanism"
        train --model_type "LASEMG_$mechanism" ${layer_groups:+--layer_groups "$layer_groups"}
        train --model_type "LASEM_$mechanism" --em_cnt_prior
    done
    train --model_type DARTS_HPS
    train --model_type DARTS_DFCNN
}

finish() {
    if [ -n "${ONLY:-}" ] && ! [ "$ONLY" -ge 1 -a "$ONLY" -le "$number" ] 2>/dev/null; then
        echo "error: ONLY=$ONLY: this script has the commands 1 to $number" >&2
        exit 2
    fi
    [ -z "${LIST:-}" ] || exit 0
    if [ -n "${STATUS:-}" ]; then
        printf '%s\0' "${all[@]}" | "${PYTHON:-python3}" -m utils.status --commands
        exit
    fi
    [ $failed -eq 0 ] || { echo "== $failed of $trained commands had trials that failed; the same script tries them again" >&2; exit 1; }
    exit 0
}
