# What tests/bench/run has measured: medians, names, fits. For report.jq and readme.jq.
def median: sort | if length == 0 then null elif length % 2 == 1 then .[length / 2 | floor] else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def round($digits): if . == null then "-" else (pow(10; $digits)) as $p | (. * $p | round) / $p | tostring end;
def mb: if . == null then "-" else . / 1024 | round(1) end;
def seconds: if . == null then "-" else . / 1000 | round(2) end;
def row: "| " + (map(tostring) | join(" | ")) + " |";
def table($head): ($head | row), ($head | map(if . == "" or test("^[A-Z, ]*$") then "---" else "---:" end) | row), (.[] | row);
def spread: (min | round(0)) + " to " + (max | round(0));

# Least squares, a + b x, with how much of the spread it explains; and the exponent of x in the same way
def fit: length as $n | (map(.[0]) | add / $n) as $mx | (map(.[1]) | add / $n) as $my
	| (map((.[0] - $mx) * (.[1] - $my)) | add) as $sxy | (map(pow(.[0] - $mx; 2)) | add) as $sxx | (map(pow(.[1] - $my; 2)) | add) as $syy
	| {a: ($my - $sxy / $sxx * $mx), b: ($sxy / $sxx), r2: (if $syy == 0 then 1 else $sxy * $sxy / $sxx / $syy end)};
def exponent: map([(.[0] | log), (.[1] | log)]) | fit.b;
# lines of [Jobs, value]; what, unit: for people; per: the unit of the slope, $scale times as small
def growth($what; $unit; $per; $scale): select(length >= 3) | fit as $f
	| [$what, "\($f.a | round(1)) \($unit)", "\($f.b * $scale | round(2)) \($per)", ($f.r2 | round(4)), (exponent | round(2)), (map(.[0]) | "\(min) to \(max)")];

def names: {sexton_unlimited: "sexton, delete-qps = 0", bare: "bare DELETEs", bare_watching: "bare DELETEs, a watch open beside", native_lifted: "native, client limits lifted",
	native_workers: "native, limits lifted, 32 workers", sexton_defaults: "sexton, defaults", native_defaults: "native, defaults",
	sexton_new: "sexton, a new register", sexton_known: "sexton, a register that knows them", curl_pages: "curl, the same pages", curl_whole: "curl, the whole list at once"};
def name: names[.] // .;

# One for each contender and size, by medians
def drained: (.drain // []) | group_by([.jobs, .contender]) | map({contender: .[0].contender, jobs: .[0].jobs, window: .[0].window_s, runs: length, rates: map(.per_second),
	rate: (map(.per_second) | median), first: (map(.first_ms) | median), all: (map(.all_ms) | median), rss: (map(.peak_rss_kb // empty) | max),
	cpu: (map(. as $r | .cpu_us | map_values(. / $r.deleted)) | {own: (map(.own) | median), apiserver: (map(.apiserver) | median), etcd: (map(.etcd) | median)}),
	deletes: (map(.requests["delete jobs"] / .deleted) | median), others: (map(. as $r | [$r.requests | to_entries[] | select(.key != "delete jobs") | .value] | (add // 0) / $r.deleted) | median)});
def started: (.startup // []) | group_by([.jobs, .what]) | map({what: .[0].what, jobs: .[0].jobs, runs: length, times: map(.ms), ms: (map(.ms) | median), rss: (map(.peak_rss_kb // empty) | max)});
def of($contender; $jobs): map(select((.contender // .what) == $contender and .jobs == $jobs)) | first;
def sizes: map(.jobs) | unique;
def times($a; $b): if $a == null or $b == null or $b == 0 then "-" else $a / $b | round(2) end;
