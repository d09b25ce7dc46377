"""For tests of streaming programs: streams that the test fills, and comparisons that say what differs.

clicks = MemoryStream(spark, "user STRING, at TIMESTAMP")
query = count_by_user(clicks.toDF()).writeStream.format("memory").queryName("out").outputMode("update").start()
clicks.add([("ada", datetime(2024, 1, 1))])
query.processAllAvailable()
assertDataFrameEqual(spark.table("out"), [("ada", 1)])
"""

from tidemill.testing.comparison import assertDataFrameEqual, assertSchemaEqual
from tidemill.testing.memory import MemoryStream, add_together

__all__ = ["MemoryStream", "add_together", "assertDataFrameEqual", "assertSchemaEqual"]
