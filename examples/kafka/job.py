"""The orders job as a program: the manifest beside it says the same in SQL.

    python examples/kafka/produce.py localhost:9092                     makes the topics, then orders until Ctrl-C
    python examples/kafka/job.py localhost:9092 CHECKPOINT-DIRECTORY

But for the imports this is a PySpark program. Under PySpark its output would be at least once.
"""

from __future__ import annotations

import sys

from tidemill.sql import DataFrame, SparkSession
from tidemill.sql import functions as F

SCHEMA = "id BIGINT, at TIMESTAMP, shop STRING, state STRING, amount DECIMAL(10, 2), bad STRING"


def read_orders(spark: SparkSession, brokers: str) -> DataFrame:
    """Each record as an order; one that is no order has its text in the column `bad`."""
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("subscribe", "orders")
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", 10_000)
        .load()
    )
    text = F.col("value").cast("string")
    order = F.from_json(text, SCHEMA, {"columnNameOfCorruptRecord": "bad"})
    return records.select(order.alias("order")).select("order.*").withWatermark("at", "5 minutes")


def paid_orders(orders: DataFrame) -> DataFrame:
    return orders.where("state = 'paid' AND bad IS NULL").select("id", "at", "shop", "amount")


def takings(paid: DataFrame) -> DataFrame:
    return (
        paid.groupBy("shop", F.window("at", "1 minute").alias("w"))
        .agg(F.count("*").alias("orders"), F.sum("amount").alias("amount"))
        .select("shop", F.col("w.start").alias("minute"), "orders", "amount")
    )


def write(rows: DataFrame, brokers: str, topic: str, checkpoint: str) -> None:
    """Start a query that writes rows of `key` and `value`."""
    (
        rows.writeStream.format("kafka")
        .queryName(topic)
        .option("kafka.bootstrap.servers", brokers)
        .option("topic", topic)
        .option("checkpointLocation", f"{checkpoint}/{topic}")
        .start()
    )


def as_json(rows: DataFrame) -> DataFrame:
    return rows.select(F.col("shop").alias("key"), F.to_json(F.struct("*")).alias("value"))


def main(brokers: str, checkpoint: str) -> None:
    spark = SparkSession.builder.appName("orders").config("spark.sql.session.timeZone", "UTC").getOrCreate()
    orders = read_orders(spark, brokers)
    paid = paid_orders(orders)
    write(as_json(paid), brokers, "orders-paid", checkpoint)
    write(as_json(takings(paid)), brokers, "takings", checkpoint)
    write(
        orders.where("bad IS NOT NULL").select(F.col("bad").alias("value")), brokers, "orders-bad", checkpoint
    )
    spark.streams.awaitAnyTermination()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: job.py BROKERS CHECKPOINT-DIRECTORY, such as localhost:9092 checkpoint")
    main(*sys.argv[1:])
