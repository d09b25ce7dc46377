"""The flights job as a program: the manifest beside it says the same in SQL.

    python examples/flights/job.py DATA OUT        DATA as `replay.set_up` and `replay.play` make it

But for the imports this is a PySpark program.
"""

from __future__ import annotations

import sys

from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F

SCHEMA = (
    "scheduled TIMESTAMP, left TIMESTAMP, origin STRING, dest STRING, carrier STRING, flight INT, delay INT"
)


def departures(spark: SparkSession, data: str) -> DataFrame:
    flights = spark.readStream.schema(SCHEMA).option("maxFilesPerTrigger", 4).json(f"{data}/flights")
    airlines = spark.read.schema("carrier STRING, name STRING").csv(f"{data}/airlines.csv", header=True)
    return (
        flights.withWatermark("scheduled", "1 hour")
        .join(airlines, "carrier")
        .groupBy(F.window("scheduled", "1 hour").alias("w"), "origin")
        .agg(
            F.count("*").alias("flights"),
            F.avg("delay").alias("mean_delay"),
            F.max("delay").alias("worst"),
            F.max_by("name", "delay").alias("worst_airline"),
        )
        .select(F.col("w.start").alias("hour"), "origin", "flights", "mean_delay", "worst", "worst_airline")
    )


def main(data: str, out: str) -> None:
    spark = SparkSession.builder.appName("flights").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    query = (
        departures(spark, data)
        .writeStream.format("json")
        .option("path", f"{out}/departures")
        .option("checkpointLocation", f"{out}/checkpoint")
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: job.py DATA OUT, such as data out beside the job.yaml that `make run` names")
    main(*sys.argv[1:])
