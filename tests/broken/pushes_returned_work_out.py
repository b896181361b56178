"""Work that came back is dropped when newer messages fill the cache."""

from stages.beyond import acks

CAUGHT_BY = "test_acks.test_work_that_came_back_is_not_pushed_out_of_the_cache"


class Server(acks.Server):
    def keep(self, message):
        super().keep(message)
        returned = self.returned.get(message["topic"], [])
        del returned[: max(0, len(returned) - self.cache_length)]
