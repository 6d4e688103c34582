"""franz-go: github.com/twmb/franz-go, packages kgo and kadm, at the version of go/go.mod.

Settings and environment are those of its continuous integration (.github/workflows/lint-and-test.yml, job "integration
test kafka"), with fewer records where a quick run is asked for.
"""

import suite


class FranzGo(suite.Suite):
    name = "franz-go"
    settings = {
        "share.coordinator.state.topic.num.partitions": "5",
        "group.share.delivery.count.limit": "10",
    }
    RECORDS, RECORDS_QUICK = 500_000, 50_000

    def install(self):
        for package in ("kgo", "kadm"):
            suite.go_binary(f"github.com/twmb/franz-go/pkg/{package}")

    def play(self, bootstrap, folder, tests, quick):
        environment = {
            "KGO_SEEDS": bootstrap,
            "KGO_TEST_RF": "1",
            "KGO_TEST_STABLE_FETCH": "true",
            "KGO_TEST_RECORDS": str(self.RECORDS_QUICK if quick else self.RECORDS),
        }
        results = {}
        for package in ("kadm", "kgo"):
            path = f"github.com/twmb/franz-go/pkg/{package}"
            results |= suite.go_test(path, folder, environment, tests, 300 if quick else 1200)
        return results
