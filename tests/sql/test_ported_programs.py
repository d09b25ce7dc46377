"""Programs written for PySpark's Structured Streaming and ported by changing the import.

``data/ported_programs.json`` has what PySpark 4.3 gives for the same programs on the same files, batch by batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.services.cluster import session_on, stop
from tidemill.engine.processes import LocalCluster
from tidemill.errors import AnalysisException, StreamingQueryException
from tidemill.sql import DataFrame, Observation, Row, SparkSession, Window
from tidemill.sql import functions as F
from tidemill.sql.streaming import StreamingQueryListener

EXPECTED = json.loads((Path(__file__).parent / "data" / "ported_programs.json").read_text())
PROGRAMS: dict[str, Callable[[Lab], Any]] = {}


def program(f: Callable[[Lab], Any]) -> Callable[[Lab], Any]:
    PROGRAMS[f.__name__] = f
    return f


class Lab:
    """Files to stream from, one a batch, and the ways to see what a query gives."""

    def __init__(self, spark: SparkSession, root: Path, name: str) -> None:
        self.spark, self.root, self.name = spark, root, name
        self.clock, self.tables = 1_700_000_000, 0

    def put(self, folder: str, *rows: Any) -> None:
        """A file that comes after those before it."""
        self.clock += 10
        path = self.root / folder / f"{self.clock}.json"
        path.parent.mkdir(exist_ok=True)
        hidden = path.with_name("." + path.name)
        hidden.write_text("".join(json.dumps(r) + "\n" for r in rows))
        os.utime(hidden, (self.clock, self.clock))
        hidden.rename(path)

    def stream(self, folder: str, schema: str) -> DataFrame:
        reader = self.spark.readStream.schema(schema).option("maxFilesPerTrigger", 1)
        return reader.json(str(self.root / folder))

    def batches(self, df: DataFrame, mode: str = "append", **options: str) -> list[Any]:
        """Every batch's id and sorted rows."""
        seen: list[Any] = []
        writer = df.writeStream.foreachBatch(lambda d, i: seen.append([i, rows_of(d)])).outputMode(mode)
        writer.options(**options).trigger(availableNow=True).start().awaitTermination()
        return seen

    def table(self, df: DataFrame, mode: str = "append") -> list[Any]:
        """The sorted rows of a memory table at the end."""
        self.tables += 1
        name = f"{self.name}_{self.tables}"
        writer = df.writeStream.format("memory").queryName(name).outputMode(mode)
        writer.trigger(availableNow=True).start().awaitTermination()
        return rows_of(self.spark.sql(f"SELECT * FROM {name}"))

    def sql(self, text: str, mode: str = "append") -> list[Any]:
        return self.table(self.spark.sql(text), mode)


def rows_of(df: DataFrame) -> list[Any]:
    return sorted((plain(r) for r in df.collect()), key=str)


def plain(value: Any) -> Any:
    """As JSON keeps it."""
    if isinstance(value, Row):
        return [plain(v) for v in value]
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, float):
        return round(value, 9)
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def refused(call: Callable[[], Any]) -> list[Any]:
    """Kind and condition of the error."""
    try:
        call()
    except AnalysisException as error:
        return [type(error).__name__, error.getCondition()]
    return ["not refused"]


# --- Programs -------------------------------------------------------------------------------------------------------


@program
def word_count(lab: Lab) -> Any:
    lab.put("in", {"line": "apache spark apache"}, {"line": "spark"})
    lab.put("in", {"line": "apache storm"}, {"line": ""})
    words = lab.stream("in", "line string").select(F.explode(F.split("line", " ")).alias("word"))
    counts = words.groupBy("word").count()
    top = counts.orderBy(F.desc("count"), "word").limit(2)
    return [
        lab.batches(counts, "update"),
        lab.batches(counts, "complete"),
        lab.batches(top, "complete"),
        refused(lambda: lab.table(counts)),
        refused(lambda: lab.table(top, "update")),
    ]


@program
def readings_in_windows(lab: Lab) -> Any:
    def event(device: str, minute: str, *values: tuple[str, float]) -> dict[str, str]:
        at = f"2024-01-01T10:{minute}Z"
        body = {"device": device, "ts": at, "readings": [{"k": k, "v": v} for k, v in values]}
        return {"value": json.dumps(body)}

    lab.put("in", event("a", "00:01", ("t", 1.5), ("h", 2)), event("b", "04:59", ("t", 3)))
    lab.put(
        "in", event("a", "06:00", ("t", 5)), {"value": "not json"}, {"value": '{"ts": "bad", "readings": []}'}
    )
    lab.put("in", event("a", "30:00", ("t", 7)), event("z", "01:00", ("t", 100)))
    lab.put("in", event("late", "01:00", ("t", 100)))
    schema = "device string, ts timestamp, readings array<struct<k:string,v:double>>"
    parsed = lab.stream("in", "value string").select(F.from_json("value", schema).alias("d")).select("d.*")
    readings = parsed.select("device", "ts", F.explode("readings").alias("r")).select("device", "ts", "r.*")
    timed = readings.withWatermark("ts", "5 minutes")
    tumbling = timed.groupBy(F.window("ts", "5 minutes"), "k").agg(
        F.avg("v"), F.count("*"), F.sort_array(F.collect_set("device"))
    )
    sliding = timed.groupBy(F.window("ts", "10 minutes", "5 minutes"), "k").agg(F.sum("v"))
    text_time = parsed.withColumn("ts", F.col("ts").cast("string")).groupBy(F.window("ts", "1 hour")).count()
    return [
        lab.batches(tumbling),
        lab.batches(tumbling, "update"),
        lab.batches(sliding, "update"),
        lab.table(sliding),
        lab.table(text_time, "complete"),
    ]


@program
def sessions(lab: Lab) -> Any:
    def visit(user: str, at: str) -> dict[str, str]:
        return {"user": user, "ts": f"2024-01-01T10:{at}"}

    lab.put("in", visit("a", "00:00"), visit("a", "00:05"), visit("b", "00:02"))
    lab.put("in", visit("a", "00:12"), visit("b", "00:40"))
    lab.put("in", visit("c", "05:00"))
    lab.put("in", visit("a", "00:20"), visit("c", "05:05"))
    visits = lab.stream("in", "user string, ts timestamp").withWatermark("ts", "10 seconds")
    fixed = visits.groupBy(F.session_window("ts", "10 seconds"), "user").count()
    gap = F.when(visits.user == "a", "5 seconds").when(visits.user == "b", "1 minute").otherwise("10 seconds")
    dynamic = visits.groupBy(F.session_window(visits.ts, gap), visits.user).count()
    return [
        lab.batches(fixed),
        lab.batches(fixed, "complete"),
        lab.batches(dynamic),
        refused(lambda: lab.batches(fixed, "update")),
    ]


@program
def duplicates(lab: Lab) -> Any:
    def event(id: int, second: int) -> dict[str, Any]:
        return {"id": id, "ts": f"2024-01-01T10:00:{second:02d}"}

    lab.put("in", event(1, 1), event(1, 1), event(2, 2))
    lab.put("in", event(1, 5), event(3, 30))
    lab.put("in", event(1, 31), event(2, 1), event(3, 30))
    lab.put("in", event(1, 50))
    lab.put("in", event(1, 52))
    events = lab.stream("in", "id int, ts timestamp").withWatermark("ts", "10 seconds")
    unique = events.dropDuplicates(["id", "ts"])
    return [
        lab.batches(unique),
        lab.batches(events.dropDuplicates(["id"]).select("id")),
        lab.batches(events.dropDuplicatesWithinWatermark(["id"])),
        lab.batches(unique.groupBy(F.window("ts", "10 seconds")).count()),
        refused(lambda: lab.batches(lab.stream("in", "id int").dropDuplicatesWithinWatermark(["id"]))),
    ]


def _ads(lab: Lab) -> tuple[DataFrame, DataFrame]:
    def row(side: str, id: int, at: str) -> dict[str, Any]:
        return {f"{side}Id": id, f"{side}Time": f"2024-01-01T10:{at}"}

    lab.put("ads", row("ad", 1, "00:00"), row("ad", 2, "01:00"))
    lab.put("clicks", row("click", 1, "05:00"), row("click", 3, "05:00"))
    lab.put("ads", row("ad", 4, "50:00"))
    lab.put("clicks", row("click", 4, "55:00"), row("click", 2, "50:00"))
    lab.put("ads", row("ad", 5, "59:59"))
    lab.put("clicks", row("click", 4, "59:59"))
    ads = lab.stream("ads", "adId int, adTime timestamp")
    return ads, lab.stream("clicks", "clickId int, clickTime timestamp")


@program
def clicks_of_ads(lab: Lab) -> Any:
    ads, clicks = _ads(lab)
    ads, clicks = ads.withWatermark("adTime", "2 minutes"), clicks.withWatermark("clickTime", "3 minutes")
    within = F.expr("clickId = adId AND clickTime BETWEEN adTime AND adTime + INTERVAL 10 MINUTES")
    kinds = ("inner", "left_outer", "right_outer", "full_outer", "left_semi")
    return [
        *(lab.table(ads.join(clicks, within, how)) for how in kinds),
        lab.batches(ads.join(clicks, within), "update"),
        refused(lambda: lab.table(ads.join(clicks, within), "complete")),
        refused(lambda: lab.table(ads.join(clicks, F.expr("adId = clickId"), "left"))),
        refused(lambda: lab.table(ads.join(clicks, within, "left_anti"))),
    ]


@program
def joins_written_in_where(lab: Lab) -> Any:
    ads, clicks = _ads(lab)
    ads.createOrReplaceTempView("ads")
    clicks.createOrReplaceTempView("clicks")
    return [
        lab.sql("SELECT adId, clickTime FROM ads, clicks WHERE adId = clickId"),
        lab.sql("SELECT a.adId, c.clickTime FROM ads a, clicks c WHERE a.adId = c.clickId AND a.adId > 1"),
        lab.sql(
            "SELECT x.adId FROM ads x JOIN clicks y WHERE x.adId + 1 = y.clickId + 1 AND clickTime > adTime"
        ),
        lab.table(ads.join(clicks).where("adId = clickId").select("adId")),
        lab.sql("SELECT a.adId, b.adTime FROM ads a, ads b WHERE a.adId = b.adId"),
    ]


@program
def static_tables(lab: Lab) -> Any:
    lab.put("in", {"k": 1, "v": "a"}, {"k": 2, "v": "b"})
    lab.put("in", {"k": 3, "v": "c"}, {"k": 1, "v": "d"}, {"v": "null"})
    names = lab.spark.createDataFrame([(1, "one"), (2, "two"), (9, "nine"), (1, "uno")], "k int, name string")
    stream = lab.stream("in", "k int, v string")
    stream.createOrReplaceTempView("s")
    names.createOrReplaceTempView("d")
    texts = [
        "SELECT s.*, d.name FROM s, d WHERE s.k = d.k",
        "SELECT /*+ BROADCAST(d) */ s.v, name FROM s LEFT JOIN d USING (k)",
        "SELECT * FROM s WHERE k IN (SELECT k FROM d)",
        "SELECT * FROM s WHERE NOT EXISTS (SELECT 1 FROM d WHERE d.k = s.k)",
        "SELECT v, (SELECT max(name) FROM d) AS m FROM s",
        "SELECT *, (SELECT count(*) FROM d) + k FROM s",
    ]
    kinds = ("inner", "left", "left_semi", "left_anti")
    return [
        *(lab.table(stream.join(F.broadcast(names), "k", how)) for how in kinds),
        lab.table(F.broadcast(names).join(stream, "k", "right")),
        lab.table(stream.join(names, stream.k == names.k).groupBy("name").count(), "complete"),
        *(lab.sql(text) for text in texts),
        refused(lambda: lab.table(stream.join(names, "k", "right"))),
        refused(lambda: lab.table(stream.join(names, "k", "full"))),
    ]


@program
def upserts_to_several_places(lab: Lab) -> Any:
    lab.put("in", {"k": 1, "v": 10}, {"k": 2, "v": 20})
    lab.put("in", {"k": 1, "v": 5}, {"k": 3, "v": 1})
    state: dict[int, int] = {}
    seen: list[Any] = []
    one, two = str(lab.root / "one"), str(lab.root / "two")

    def upsert(batch: DataFrame, id: int) -> None:
        batch.persist()
        state.update({r["k"]: r.total for r in batch.collect()})
        batch.write.format("parquet").mode("append").save(one)
        batch.withColumn("batch", F.lit(id)).write.mode("append").json(two)
        batch.createOrReplaceTempView("updates")
        count = batch.sparkSession.sql("SELECT count(*) AS n FROM updates").first()
        seen.append([id, batch.isStreaming, batch.columns, count and count.n])
        batch.unpersist()

    totals = lab.stream("in", "k int, v int").groupBy("k").agg(F.sum("v").alias("total"))
    writer = totals.writeStream.outputMode("update").foreachBatch(upsert)
    writer.trigger(availableNow=True).start().awaitTermination()
    back = lab.spark.read.schema("k int, total long, batch long").json(two)
    return [state, seen, rows_of(lab.spark.read.parquet(one)), rows_of(back)]


@program
def failures(lab: Lab) -> Any:
    lab.put("in", {"k": "1"}, {"k": "x"})
    stream = lab.stream("in", "k string")

    def fail(batch: DataFrame, id: int) -> None:
        raise ValueError("boom")

    def end_of(writer: Any) -> Any:
        query = writer.start()
        try:
            query.awaitTermination()
        except StreamingQueryException as error:
            return [error.getCondition(), error.getSqlState(), sorted(error.getMessageParameters() or ())]
        return [query.exception(), query.isActive]

    wrong = [stream.select(F.col("k").cast("int")), stream.selectExpr("1 / (length(k) - 1)"),
             stream.selectExpr("raise_error('no')"), stream.selectExpr("try_cast(k AS int)")]  # fmt: skip
    return [
        end_of(stream.writeStream.foreachBatch(fail)),
        *(end_of(d.writeStream.format("noop").trigger(availableNow=True)) for d in wrong),
    ]


@program
def mistakes(lab: Lab) -> Any:
    lab.put("in", {"k": 1})
    s = lab.stream("in", "k int, ts timestamp, n struct<a:int>, v string")

    def about(call: Callable[[], Any]) -> list[Any]:
        try:
            call()
        except AnalysisException as error:
            return [error.getCondition(), error.getSqlState()]
        return []

    def named(call: Callable[[], Any], *names: str) -> list[Any]:
        with pytest.raises(AnalysisException) as raised:
            call()
        said = raised.value.getMessageParameters() or {}
        return [said[n] for n in names]

    return [
        about(lambda: s.select("kk")), named(lambda: s.select("kk"), "objectName"),
        about(lambda: s.select("n.b")), named(lambda: s.select("n.b"), "fieldName", "fields"),
        about(lambda: s.selectExpr("nosuch(k)")), named(lambda: s.selectExpr("nosuch(k)"), "routineName"),
        about(lambda: lab.spark.sql("SELECT * FROM nosuch")),
        named(lambda: lab.spark.sql("SELECT * FROM nosuch"), "relationName"),
        about(lambda: s.withWatermark("v", "1 minute")),
        named(lambda: s.withWatermark("v", "1 minute"), "eventName", "eventType"),
        about(lambda: s.withWatermark("ts", "abc")), about(lambda: s.selectExpr("k +")),
        about(lambda: s.groupBy("k").agg(F.col("v"))),
        named(lambda: s.groupBy("k").agg(F.col("v")), "expression", "expressionAnyValue"),
        about(lambda: s.groupBy(F.window("ts", "0 seconds")).count()), about(lambda: s.filter("k")),
        about(lambda: s.collect()), about(lambda: s.cache()), about(lambda: s.write),
        about(lambda: s.groupBy("k").pivot("v").count()), about(lambda: lab.spark.range(1).writeStream),
        about(lambda: s.writeStream.format("memory").start()),
        about(lambda: s.writeStream.format("parquet").start(str(lab.root / "out"))),
        about(lambda: lab.table(s.withColumn("l", F.lag("k").over(Window.orderBy("k"))))),
        about(lambda: lab.table(s.agg(F.countDistinct("k")), "complete")),
        about(lambda: lab.table(s.orderBy("k"))), about(lambda: lab.table(s.sample(0.5))),
        about(lambda: lab.table(s.exceptAll(s))), about(lambda: lab.table(s.limit(1), "update")),
        about(lambda: lab.spark.readStream.schema("a int").json(str(lab.root / "nosuch"))),
        about(lambda: s.union(s.select("k"))), about(lambda: lab.table(s.drop("n"), "complete")),
    ]  # fmt: skip


@program
def windows_of_windows(lab: Lab) -> Any:
    for at, v in (("00:01", 1), ("00:11", 2), ("01:01", 3), ("05:00", 4)):
        lab.put("in", {"ts": f"2024-01-01T10:{at}", "v": v})
    events = lab.stream("in", "ts timestamp, v int").withWatermark("ts", "10 seconds")
    events.createOrReplaceTempView("ev")
    sums = events.groupBy(F.window("ts", "10 seconds")).agg(F.sum("v").alias("s"))
    text = "SELECT window.start, sum(v) AS s FROM ev GROUP BY window(ts, '1 minute') HAVING sum(v) > 1"
    return [
        lab.table(sums.select(F.window_time("window"), "s")),
        lab.table(sums.groupBy(F.window(F.window_time("window"), "1 minute")).agg(F.sum("s"))),
        lab.table(sums.groupBy(F.window("window", "1 minute")).agg(F.sum("s"), F.count("*"))),
        refused(lambda: lab.table(sums.groupBy(F.window("window", "1 minute")).count(), "update")),
        lab.table(events.groupBy(F.window("ts", "1 minute", "30 seconds", "15 seconds")).count()),
        lab.table(events.groupBy(F.to_date("ts")).count(), "update"),
        lab.sql(text),
    ]


@program
def restarts(lab: Lab) -> Any:
    lab.put("in", {"k": 1, "v": 1}, {"k": 2, "v": 1})
    stream = lab.stream("in", "k int, v int")
    sums = stream.groupBy("k").agg(F.sum("v").alias("s"))
    place = {"checkpointLocation": str(lab.root / "sums")}
    other = {"checkpointLocation": str(lab.root / "rows")}
    found = [lab.batches(sums, "update", **place), lab.batches(sums, "update", **place)]
    found.append(lab.batches(stream, **other))
    lab.put("in", {"k": 1, "v": 5}, {"k": 3, "v": 7})
    found.append(
        lab.batches(stream.filter("k < 3").groupBy("k").agg(F.sum("v").alias("s")), "update", **place)
    )
    found.append(lab.batches(stream.filter("v > 5").select("v", (F.col("v") * 2).alias("w")), **other))
    lab.spark.conf.set("spark.sql.shuffle.partitions", "3")
    lab.put("in", {"k": 3, "v": 9}, {"k": 1, "v": 1})
    found.append(lab.batches(sums.withColumnRenamed("s", "total"), "update", **place))
    lab.spark.conf.unset("spark.sql.shuffle.partitions")
    lab.put("in", {"k": 4, "v": 0})
    return [*found, lab.batches(sums, "complete", **place)]


@program
def users_functions(lab: Lab) -> Any:
    lab.put("in", {"k": 1, "v": "ab"}, {"k": 2, "v": None})
    lab.put("in", {"k": 3, "v": "xyz"})
    stream = lab.stream("in", "k int, v string")
    upper = F.udf(lambda x: x.upper() if x else None, "string")
    parts = F.udf(lambda k, v: Row(a=k, b=list(v or "")), "struct<a:int,b:array<string>>")
    plus = F.pandas_udf(lambda x: x + 1, "long")
    lab.spark.udf.register("shout", lambda x: (x or "").upper(), "string")
    stream.createOrReplaceTempView("texts")

    def tens(frames: Iterator[Any]) -> Iterator[Any]:
        for frame in frames:
            yield frame.assign(k=frame.k * 10)[["k"]]

    return [
        lab.batches(stream.select("k", upper("v"), parts("k", "v"), plus("k"))),
        lab.sql("SELECT k, shout(v) FROM texts WHERE shout(v) != 'XYZ'"),
        lab.table(stream.mapInPandas(tens, "k long")),
        lab.table(stream.mapInPandas(tens, "k long").agg(F.sum("k")), "complete"),
        lab.batches(
            stream.groupBy("k").applyInPandas(lambda frame: frame.assign(v=frame.v + "!"), "k int, v string")
        ),
        lab.table(stream.mapInArrow(lambda batches: (b.select(["k"]) for b in batches), "k int")),
    ]


class Recorder(StreamingQueryListener):
    """What a listener hears, less what differs from run to run."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def onQueryStarted(self, event: Any) -> None:
        self.heard.append(["started", event.name])

    def onQueryProgress(self, event: Any) -> None:
        p = event.progress
        figures = {name: row.asDict() for name, row in p.observedMetrics.items()}
        self.heard.append(["progress", p.batchId, p.numInputRows, p.name, figures])

    def onQueryIdle(self, event: Any) -> None:
        """Comes or not, as the clock has it."""

    def onQueryTerminated(self, event: Any) -> None:
        self.heard.append(["terminated", event.exception is None, event.errorClassOnException])


@program
def progress(lab: Lab) -> Any:
    lab.put("in", {"k": 1, "ts": "2024-01-01T00:00:10"}, {"k": 2, "ts": "2024-01-01T00:00:20"})
    lab.put("in", {"k": 5, "ts": "2024-01-01T00:10:00"})
    lab.put("in", {"k": 5, "ts": "2024-01-01T00:00:01"})
    timed = lab.stream("in", "k int, ts timestamp").withWatermark("ts", "1 minute")
    sums = timed.groupBy(F.window("ts", "1 minute")).agg(F.sum("k"))
    query = sums.writeStream.format("memory").queryName("progress").trigger(availableNow=True).start()
    query.awaitTermination()
    figures = [
        [p["batchId"], p["numInputRows"], p["eventTime"], p["sink"]["numOutputRows"], *(
            p["stateOperators"][0][n] for n in ("numRowsTotal", "numRowsUpdated", "numRowsDroppedByWatermark")
        )]
        for p in query.recentProgress
    ]  # fmt: skip
    last = query.lastProgress
    return [figures, last and last["batchId"], query.exception(), query.status["message"]]


@program
def listened(lab: Lab) -> Any:
    lab.put("in", {"k": 1, "v": "a"}, {"k": 2})
    lab.put("in", {"k": 5, "v": "b"})
    recorder = Recorder()
    lab.spark.streams.addListener(recorder)
    rows = lab.stream("in", "k int, v string, unused string")
    watched = rows.observe("all", F.count(F.lit(1)).alias("n"), F.sum("k").alias("sum"))
    large = F.count_if(F.col("k") > 1).alias("large")
    good = watched.filter("v IS NOT NULL").observe("good", large, F.max("v").alias("v"))
    query = good.select("k").writeStream.format("noop").queryName("heard")
    query.trigger(availableNow=True).start().awaitTermination()
    heard = list(settled(recorder))
    lab.spark.streams.removeListener(recorder)
    observation = Observation("batch")
    frame = lab.spark.range(5).observe(observation, F.count(F.lit(1)).alias("n"), F.max("id").alias("top"))
    return [heard, frame.filter("id > 2").count(), observation.get]


@program
def schemas_inferred(lab: Lab) -> Any:
    lab.put("in", {"k": 1, "v": "a", "t": "2024-01-01T00:00:00"})
    path = str(lab.root / "in")
    lab.spark.conf.set("spark.sql.streaming.schemaInference", "true")
    found = lab.spark.readStream.json(path)
    lab.spark.conf.set("spark.sql.streaming.schemaInference", "false")
    kinds = []
    for load in (
        lambda: lab.spark.readStream.json(path),
        lambda: lab.spark.readStream.format("socket").load(),
    ):
        try:
            load()
        except Exception as error:
            kinds.append([type(error).__name__, error.getCondition()])  # type: ignore[attr-defined]
    return [found.schema.simpleString(), lab.table(found), kinds]


def settled(recorder: Recorder) -> list[Any]:
    """What was heard up to the end, which PySpark tells a moment after `awaitTermination` has returned."""
    import time

    limit = time.monotonic() + 30
    while not any(e[0] == "terminated" for e in recorder.heard) and time.monotonic() < limit:
        time.sleep(0.01)
    return recorder.heard


# --- The test -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spark() -> SparkSession:
    return SparkSession.builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_ported_program_gives_what_spark_gives(name: str, spark: SparkSession, tmp_path: Path) -> None:
    found = json.loads(json.dumps(plain(PROGRAMS[name](Lab(spark, tmp_path, name)))))
    assert found == EXPECTED[name]


@pytest.fixture(scope="module")
def on_executors() -> Iterator[SparkSession]:
    cluster = LocalCluster(2, threads=1)
    session = session_on(cluster)
    yield session
    stop(session)
    cluster.close()


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_does_so_on_executors(name: str, on_executors: SparkSession, tmp_path: Path) -> None:
    test_a_ported_program_gives_what_spark_gives(name, on_executors, tmp_path)
