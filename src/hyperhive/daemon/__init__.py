"""The one place where the hive is put together; contains no behaviour of its own."""
