# What benches/compare prints of two results: a line for its exit status, and then the text. $least is the least ratio
# of a change, or null.
def median: sort | if length == 0 then null else (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2 end;
def runs: if type == "array" then . else [.] end;

# How far the ranks of $new are above those of $old, in standard deviations; equal values share a rank.
def z($old; $new):
    ($old | length) as $m | ($new | length) as $n
    | [($old[] | { v: ., new: 0 }), ($new[] | { v: ., new: 1 })] | group_by(.v)
    | reduce .[] as $tie ({ ranks: 0, below: 0, ties: 0 };
        ($tie | length) as $t
        | .ranks += ($tie | map(.new) | add) * (.below + ($t + 1) / 2)
        | .below += $t | .ties += $t * $t * $t - $t)
    | (.ranks - $n * ($m + $n + 1) / 2) as $above
    | ($m * $n / 12 * ($m + $n + 1 - .ties / (($m + $n) * ($m + $n - 1)))) as $variance
    | if $variance <= 0 then 0
        else ([($above | fabs) - 0.5, 0] | max) / ($variance | sqrt) * (if $above < 0 then -1 else 1 end) end;

# The values of a figure in several runs.
def values($name; $over; $each_run):
    [.[].figures[] | select(.name == $name)]
    | map(. as $figure | (if $over then .floor.p50 else 1 end) as $by
        | if $each_run then [.measured / $by] else [.found.samples[] / $by] end)
    | add;

def fixed: if . == null then "-" else (. * 1000 | round / 1000 | tostring) end;
def cut($width): .[:$width] | . + (" " * ($width - length) // "");
def right($width): (" " * ($width - length) // "") + .;
def headed: "\(.bench) of \(.revision // .program | .[:12]): \(.date), kernel \(.kernel), \(.processors) processors, load \(.load.begin[0]) to \(.load.end[0])";

(.[0] | runs) as $old | (.[1] | runs) as $new
| ([$old, $new] | all(length >= 5)) as $each_run
| (if $least != null then $least elif $each_run then 1.05 else 1.10 end) as $least
| [$new[0].figures[] | select(.judged) | .name as $name
    | [$old[].figures[] | select(.name == $name)] as $before
    | select($before | length > 0)
    | (all(($before[], ($new[].figures[] | select(.name == $name))); (.floor.p50 // 0) > 0)) as $over
    | ($old | values($name; $over; $each_run)) as $was | ($new | values($name; $over; $each_run)) as $is
    | { name: $name, over: $over, old: ($was | median), new: ($is | median), was: $was, is: $is }
    | .ratio = (if .old > 0 then .new / .old else null end)
    | .z = z(.was; .is)
    | .verdict =
        if ($was | length) < 5 or ($is | length) < 5 then "not judged: \($was | length) and \($is | length) values"
        elif (.z | fabs) < 2.5 then "same"
        elif .ratio != null and .ratio < $least and .ratio > 1 / $least then "same"
        elif .z > 0 then "SLOWER" else "faster" end]
    as $figures
| { figures: $figures, least: $least, each_run: $each_run,
    heads: [($old[0] | headed), ($new[0] | headed)],
    counts: "\($old | length) and \($new | length) runs",
    slower: ([$figures[] | select(.verdict == "SLOWER")] | length),
    faster: ([$figures[] | select(.verdict == "faster")] | length),
    unlike: ([$old[0], $new[0]] | map([.kernel, .processors]) | unique | length > 1),
    problem: (if $old[0].bench != $new[0].bench then "one is of the benchmark \($old[0].bench), the other of \($new[0].bench)"
        elif ($figures | length) == 0 then "they have no figure in common"
        else null end) }
|
if .problem then "2", .problem else
    (if .slower > 0 then "1" else "0" end),
    ("old: " + .heads[0]), ("new: " + .heads[1]),
    (if .unlike then "careful: the kernels or the processors differ" else empty end),
    ("\(.counts); values are " + (if .each_run then "the figure of each run" else "the samples" end)
        + ", over the floor where it says x; least ratio \(.least)"),
    "",
    ("FIGURE" | cut(58)) + ("OLD" | right(10)) + ("NEW" | right(10)) + ("NEW/OLD" | right(9)) + ("Z" | right(8)) + "  VERDICT",
    (.figures[]
        | (if .over then "x " else "" end) as $x
        | (.name | cut(58)) + ($x + (.old | fixed) | right(10)) + ($x + (.new | fixed) | right(10))
            + (.ratio | fixed | right(9)) + (.z * 100 | round / 100 | tostring | right(8)) + "  " + .verdict),
    "",
    "\(.figures | length) figures: \(.slower) slower, \(.faster) faster"
end
