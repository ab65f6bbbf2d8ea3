int main(void) { return 0; } // an empty static program: what any process costs
