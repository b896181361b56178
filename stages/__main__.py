"""`python -m stages` prints the table of contents, with the command that runs each stage."""

from stages import STAGES

for name, promise in STAGES.items():
    print(f"python -m stages.{name} 7777".ljust(45) + promise)
