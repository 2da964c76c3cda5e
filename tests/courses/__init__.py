"""What the courses teach, item by item: each number of their checklist has a row in `table.py`, which names the test that proves it."""
