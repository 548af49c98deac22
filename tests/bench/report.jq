# What tests/bench/run has measured, as Markdown: ratios first.
include "report_lib";

def summary: drained as $d | started as $s | ((.latency // []) | map({key: .contender, value: .}) | from_entries) as $l | . as $all
	| [ ($d | sizes[] as $n | select($d | of("bare"; $n)) | ["Drain of \($n) Jobs, sexton : bare DELETEs", times(($d | of("sexton_unlimited"; $n)).rate; ($d | of("bare"; $n)).rate), "0.9 or more"]),
		($d | sizes[] as $n | select($d | of("bare_watching"; $n)) | ["Drain of \($n) Jobs, sexton : bare DELETEs with a watch", times(($d | of("sexton_unlimited"; $n)).rate; ($d | of("bare_watching"; $n)).rate), ""]),
		($d | sizes[] as $n | select($d | of("bare"; $n)) | ["CPU of all for a deletion, of \($n), bare DELETEs with a watch : sexton", times(($d | of("bare_watching"; $n)).cpu | add; ($d | of("sexton_unlimited"; $n)).cpu | add), ""]),
		($d | sizes[] as $n | select($d | of("native_lifted"; $n)) | ["Drain of \($n) Jobs, sexton : native with its limits lifted", times(($d | of("sexton_unlimited"; $n)).rate; ($d | of("native_lifted"; $n)).rate), ""]),
		($d | sizes[] as $n | select($d | of("native_defaults"; $n)) | ["Deletions a second at defaults, sexton : native", times(($d | of("sexton_defaults"; $n)).rate; ($d | of("native_defaults"; $n)).rate), ""]),
		(select($l.sexton_defaults) | ["Finish to gone at defaults, p50 (ms)", ($l.sexton_defaults.gone.p50_ms | round(1)), "under 10"], ["Finish to gone at defaults, p99 (ms)", ($l.sexton_defaults.gone.p99_ms | round(1)), "under 50"],
			["Finish to gone, p50, native at its defaults : sexton", times($l.native_defaults.gone.p50_ms; $l.sexton_defaults.gone.p50_ms), ""], ["Finish to gone, p50, native with its limits lifted : sexton", times($l.native_lifted.gone.p50_ms; $l.sexton_defaults.gone.p50_ms), ""]),
		($s | sizes[] as $n | ["In sync with \($n) Jobs, sexton with a register that knows them : curl, the same pages", times(($s | of("sexton_known"; $n)).ms; ($s | of("curl_pages"; $n)).ms), "1.3 or less at 20000"],
			["In sync with \($n) Jobs, sexton with a new register : curl, the same pages", times(($s | of("sexton_new"; $n)).ms; ($s | of("curl_pages"; $n)).ms), "1.3 or less at 20000"]),
		($d | sizes[] as $n | select(($d | of("native_lifted"; $n)).rss) | ["Memory at \($n) Jobs, native : sexton (both while draining)", times(($d | of("native_lifted"; $n)).rss; ($d | of("sexton_unlimited"; $n)).rss), ""]),
		($s | sizes[] as $n | ["Memory at \($n) Jobs that wait, at most (MB)", ([($s | of("sexton_new"; $n)).rss, ($s | of("sexton_known"; $n)).rss] | max | mb), (if $n == 20000 then "under 16" else "" end)]),
		(($all.memory // [])[] | select(.jobs == 100000) | ["Memory at 100000 Jobs that wait, at most (MB), simulated server", (.peak_rss_kb | mb), "under 48"]),
		(($all.idle // [])[] | ["Wake-ups a second, \(.jobs) Jobs wait", (.wakeups_per_second | round(2)), "under 1"], ["CPU, \(.jobs) Jobs wait (ms a second)", (.cpu_ms_per_second | round(2)), "none to speak of"]),
		($d | sizes[] as $n | select($d | of("sexton_unlimited"; $n)) | ["DELETEs for each Job deleted, of \($n)", (($d | of("sexton_unlimited"; $n)).deletes | round(3)), "1"]),
		(($all.cut // [])[] | ["Lists of Jobs after the network was cut and healed", (.lists_after | tostring), "0"])
	];

"- Command: `\(.command)`, \(.date)",
"- Machine: \(.cpus) CPUs (\(.cpu)), \(.memory_mb) MB; etcd, API server, audit log and who is measured share them; etcd's data \(if .etcd_on == "memory" then "in memory" else "on disk" end)",
"- Versions: \(.versions | to_entries | map("\(.key) \(.value)") | join(", "))",
(select(.job_bytes) | .job_bytes | "- A Job: \(.json) bytes as JSON (\(.indented) where it is indented for people), \(.protobuf) as protobuf"),
"", "## Ratios and aims", "", (summary | table(["WHAT", "measured", "AIM"])),
(select(.drain) | drained as $d | "", "## Drain", "",
	"By medians of the runs; CPU in µs for each Job deleted; time from exec, the list included. The native controller is done with a Job when its DELETE is answered: the garbage collector, which lets it go after a deletion in the foreground, is not run.", "",
	($d | map([.jobs, (.contender | name), (.rate | round(0)), (.rates | if length > 1 then spread else "-" end), .runs, (.first | seconds), (if .window then "-" else .all | seconds end),
		(.cpu.own | round(0)), (.cpu.apiserver | round(0)), (.cpu.etcd | round(0)), (.cpu | add | round(0)), (.rss | mb), (.deletes | round(3)), (.others | round(3))])
		| table(["jobs", "WHO", "deletions/s", "spread", "runs", "first (s)", "all (s)", "own CPU", "API server", "etcd", "CPU in all", "peak (MB)", "DELETEs/Job", "other requests/Job"]))),
(select(.latency) | "", "## Finish to gone", "",
	"The native controller deletes in the foreground, and the garbage collector (beside it, with the same limits) lets the Job go.", "",
	([.latency[] | . as $r | (.contender | name) as $who | [$who, "gone", .jobs, .gone], (select(.gone != .answered) | [$who, "DELETE answered", .jobs, .answered])
		| .[0:3] + [(.[3] | .p50_ms, .p90_ms, .p99_ms, .max_ms) | round(1)]] | table(["WHO", "UNTIL", "jobs", "p50 (ms)", "p90", "p99", "max"]))),
(select(.startup) | started as $s | "", "## Start-up", "",
	($s | map([.jobs, (.what | name), .ms, (.times | spread), .runs, times(.ms; (.jobs as $n | $s | of("curl_pages"; $n)).ms), times(.ms; (.jobs as $n | $s | of("curl_whole"; $n)).ms), (.rss | mb)])
		| table(["jobs", "WHO", "ms", "spread", "runs", "of curl, pages", "of curl, whole", "peak (MB)"]))),
(select(.idle) | "", "## Idle", "",
	(.idle | map([.jobs, (.seconds | round(0)), (.wakeups_per_second | round(2)), (.cpu_ms_per_second | round(3)), (.rss_kb | mb), (.requests | to_entries | map("\(.value) \(.key)") | join(", "))])
		| table(["jobs", "seconds", "wake-ups/s", "CPU ms/s", "RSS (MB)", "REQUESTS"]))),
(select(.cut) | "", "## A cut network", "",
	(.cut | map([.jobs, .lists_before, .lists_after, .watches_after, (.requests | to_entries | map("\(.value) \(.key)") | join(", "))]) | table(["jobs", "lists before", "lists after", "watches after", "REQUESTS"]))),
(select(.memory) | "", "## Memory, by the simulated API server over TLS", "",
	(.memory | map([.jobs, (.rss_kb | mb), (.peak_rss_kb | mb), (.ms | seconds)]) | table(["jobs", "RSS (MB)", "peak (MB)", "in sync after (s)"]))),
(drained as $d | started as $s | [
	($d | map(select(.contender == "sexton_unlimited") | [.jobs, .all]) | growth("Drain, from exec to the last deletion"; "ms"; "ms a Job"; 1)),
	($d | map(select(.contender == "bare") | [.jobs, (.jobs * 1000 / .rate)]) | growth("The same, bare DELETEs"; "ms"; "ms a Job"; 1)),
	($s | map(select(.what == "sexton_new") | [.jobs, .ms]) | growth("In sync, a new register"; "ms"; "µs a Job"; 1000)),
	($s | map(select(.what == "sexton_known") | [.jobs, .ms]) | growth("In sync, a register that knows them"; "ms"; "µs a Job"; 1000)),
	($s | map(select(.what == "curl_pages") | [.jobs, .ms]) | growth("curl, the same pages"; "ms"; "µs a Job"; 1000)),
	((.memory // []) | map(select(.ms) | [.jobs, .ms]) | growth("In sync, a new register, simulated API server"; "ms"; "µs a Job"; 1000)),
	((.memory // []) | map([.jobs, .rss_kb]) | growth("Memory once all are known, simulated API server"; "kB"; "bytes a Job"; 1024)),
	((.memory // []) | map([.jobs, .peak_rss_kb]) | growth("Memory at most, simulated API server"; "kB"; "bytes a Job"; 1024)),
	($d | map(select(.contender == "native_lifted") | [.jobs, .rss]) | growth("Memory at most, native"; "kB"; "bytes a Job"; 1024))]
	| select(length > 0) | "", "## Growth", "", "Least squares, a + b × Jobs; the exponent is that of Jobs where time or memory is a power of it.", "",
	table(["WHAT", "a", "b", "R²", "exponent", "jobs"]))
