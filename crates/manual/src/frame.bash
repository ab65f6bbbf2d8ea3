# bash completion for NAME. Made by `make manual` from the table of flags; do not edit.

# Prints a line of what NAME knows of; --root and --driver count as they were given.
_NAME_printed() {
    eval "${COMP_WORDS[0]} ${_NAME_global[*]@Q} $1" 2>/dev/null
}

# Sets COMPREPLY to words that begin as the one at the cursor.
_NAME_words() {
    local word
    COMPREPLY=()
    for word in $1; do
        [[ $word != "$cur"* ]] || COMPREPLY+=("$word")
    done
}

_NAME_offer() {
    case ${1:-} in
        files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        dirs) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        words) _NAME_words "$2" ;;
        printed) _NAME_words "$(_NAME_printed "$2")" ;;
        none | '') COMPREPLY=() ;;
        *) _NAME_words "${1//,/ }" ;;
    esac
}

# Sets flags, values, offer and second for a verb.
_NAME_verb() {
    case $1 in
@CASES@
    esac
}

# Prints the kind of a flag's value; fails for a flag that has none.
_NAME_value() {
    local entry
    for entry in $values; do
        [[ ${entry%%:*} != "$1" ]] || { echo "${entry#*:}"; return 0; }
    done
    return 1
}

_NAME() {
    local line=("${COMP_WORDS[@]:1:COMP_CWORD-1}") cur=${COMP_WORDS[COMP_CWORD]}
    local verb='' word kind flags values offer=() second=() _NAME_global=() place=0 trailing=''
    # readline makes a word of each = and :
    if [[ $cur == = ]]; then cur=''; elif ((${#line[@]} > 0)) && [[ ${line[-1]} == = ]]; then unset 'line[-1]'; fi
    COMPREPLY=()
    _NAME_verb ''
    while ((place < ${#line[@]})); do
        word=${line[place]}
        ((place += 1))
        if [[ $word == -* ]]; then
            if kind=$(_NAME_value "$word"); then
                if ((place == ${#line[@]})); then
                    _NAME_offer "$kind"
                    return
                fi
                [[ -n $verb || $word != --@(root|driver) ]] || _NAME_global+=("$word" "${line[place]}")
                ((place += 1))
            fi
        elif [[ -z $verb || " @GROUPS@ " == *" $verb "* ]]; then
            verb=${verb:+$verb }$word
            flags='' values='' offer=() second=()
            _NAME_verb "$verb"
        elif [[ $verb != help ]]; then
            trailing=$word
        fi
    done
    if [[ $cur == -* ]]; then
        _NAME_words "$flags"
    elif [[ -z $verb || $verb == help ]]; then
        _NAME_words '@VERBS@'
    elif [[ -n $trailing && ${#second[@]} != 0 ]]; then
        _NAME_offer "${second[@]}"
    elif [[ -z $trailing || $verb != @(exec|run|create|ps|top) ]]; then
        _NAME_offer "${offer[@]}"
    else
        compopt -o default
    fi
}

complete -F _NAME NAME
