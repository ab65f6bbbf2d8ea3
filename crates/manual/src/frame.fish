# fish completion for NAME. Made by `make manual` from the table of flags; do not edit.

# Prints the verb of the line, with the word after a group.
function __NAME_verb
    set -l words (commandline -opc)
    set -e words[1]
    set -l verb
    while set -q words[1]
        if contains -- $words[1] @VALUES@; and test -z "$verb"
            set -e words[1]
        else if not string match -q -- '-*' $words[1]
            set verb (string join ' ' -- $verb $words[1])
            contains -- "$verb" @GROUPS@; or break
        end
        set -e words[1]
    end
    echo $verb
end

# Prints what NAME knows of; --root and --driver count as they were given.
function __NAME_printed
    set -l words (commandline -opc)
    set -l global
    for place in (seq 2 (count $words))
        contains -- $words[$place] --root --driver; and set -a global $words[$place] (string escape -- $words[(math $place + 1)])
    end
    eval "$words[1] $global $argv" 2>/dev/null
end

complete -c NAME -f
