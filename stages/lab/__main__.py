"""`python -m stages.lab FOLDER`: the lessons, laid there and opened."""

from stages.lab.learn import main

if __name__ == "__main__":
    main()
