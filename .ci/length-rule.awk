# Functions of at most 80 lines, files of at most 800. Relies on the house format: a function opens at column 0 with a line
# that ends in "{" and closes with "}" at column 0.
FNR == 1 { if (NR > 1) end_of_file(); file = FILENAME; start = 0 }
/^[A-Za-z_].*/ && !inside { if (!start) start = FNR }
/^[^ \t#\/].*[^=] ?\{$/ || /^\{$/ {
    if (!inside && $0 !~ /^(typedef|struct|enum|union|static const|const|extern "C")/ && $0 !~ /= *\{$/) { inside = start ? start : FNR; name = $0 }
}
/^}/ {
    if (inside && FNR - inside + 1 > 80) { printf "%s:%d: function of %d lines\n", file, inside, FNR - inside + 1; bad = 1 }
    inside = 0; start = 0
}
/;$/ && !inside { start = 0 }
/^$/ && !inside { start = 0 }
/^\/\*|^ \*|^#/ && !inside { start = 0 }
{ lines = FNR }
function end_of_file() { if (lines > 800) { printf "%s: %d lines\n", file, lines; bad = 1 } }
END { end_of_file(); exit bad }
